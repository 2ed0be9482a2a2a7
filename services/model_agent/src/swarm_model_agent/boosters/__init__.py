"""Estimators of the optional libraries, one module each: a module is imported only where its library is wanted."""
