"""The page: a project in the browser, on the machine it lies on. A thin skin over ``project``, as the command line is.

One file for one thing that the page shows; ``app`` has the addresses and nothing else, ``guard`` who may use them.
``static`` holds the built page: its source lies in ``web/`` of the repository, and nobody needs Node to use it.
"""
