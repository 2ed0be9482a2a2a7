"""Reports of a run: a page that stands alone (``page``, ``charts``, ``facts``), or data (``data``)."""
