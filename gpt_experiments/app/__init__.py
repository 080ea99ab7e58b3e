"""What each command does, one module a command; nothing here knows the command line, so Python can call it too."""
