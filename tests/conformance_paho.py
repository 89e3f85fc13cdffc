"""Runs the cases of the Eclipse Paho interoperability suite: conformance_paho.py client_test|client_test5 PORT [CASES]

The suite reads its own options from the command line and then leaves it to unittest, which doesn't know them; so its
settings are set here. The filter that nobody may subscribe to is one of its options: here it is one of `$SYS`.
"""

import importlib
import sys
import unittest

name, port, cases = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
suite = importlib.import_module(name)
suite.host, suite.port, suite.topic_prefix = "127.0.0.1", port, f"{name}/"
topics = ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA")
filters = ("TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#")


def settings():
    suite.topics, suite.wildtopics, suite.nosubscribe_topics = topics, filters, ("$SYS/#",)


suite.setData = settings
settings()
known = unittest.TestLoader().getTestCaseNames(suite.Test)
# A case that unittest doesn't find by its name.
known += [case for case in ("will_message_test",) if hasattr(suite.Test, case)]
wanted = unittest.TestSuite(suite.Test(case) for case in known if not cases or case in cases)
sys.exit(not unittest.TextTestRunner(verbosity=2).run(wanted).wasSuccessful())
