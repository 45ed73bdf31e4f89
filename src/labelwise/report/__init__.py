"""Reports: records of studies, honest statistics, curves, galleries and self-contained HTML pages.

Import from the modules (``labelwise.campaign.records``, ``.statistics``, ``.curves``, ``.html``, ``.gallery``,
``.table``, ``.project``); this package imports nothing, so that reading a record costs no plotting library.
"""
