"""Tests of what people read: commands are run or read by the parser they are for, links lead somewhere."""
