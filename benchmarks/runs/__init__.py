"""One run in its folder: built, resumed, trained, recorded."""
