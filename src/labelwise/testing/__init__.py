"""Contract tests that anybody can run on what they write, kept outside of the package, too.

One module for each contract: ``strategies.check_strategy``, ``signals.check_signal``, ``tasks.check_task``,
``learners.check_learner``, ``sources.check_source``, ``oracles.check_oracle``, ``formats.check_format``. Each raises
``AssertionError`` at the first promise that is broken; ``worlds`` has images and a learner to try things with. They
need no pytest.
"""
