"""Prints the tests that failed according to a JUnit file, as arguments for pytest, one a line."""
import sys
import xml.etree.ElementTree as xml

for case in xml.parse(sys.argv[1]).iter("testcase"):
    if case.find("failure") is not None or case.find("error") is not None:
        name, _, group = case.get("name", "").rpartition("@")  # pytest-xdist appends the name of a test's group
        if not name or "]" in group:
            name = case.get("name", "")
        print("harness/" + case.get("classname", "").replace(".", "/") + ".py::" + name)
