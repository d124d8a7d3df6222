"""What training makes smaller: `objective.py` says what every objective does; each other file is one."""
