"""Kinds of label, one file each."""

from labelwise.contracts.task import Task
from labelwise.registry import Registry

#: all tasks by name
TASKS: Registry[Task] = Registry("task", "labelwise.tasks", Task)  # type: ignore[type-arg,type-abstract]
