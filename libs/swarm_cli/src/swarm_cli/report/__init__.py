"""Reports of a run: a page that stands alone (``page``, ``charts``), or data (``data``). ``facts`` gathers what they show."""
