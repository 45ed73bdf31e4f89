"""Kinds of label, one file each."""

from labelwise.registry import Registry
from labelwise.task import Task

#: all tasks by name
TASKS: Registry[Task] = Registry("task", "labelwise.tasks", Task)  # type: ignore[type-arg,type-abstract]
