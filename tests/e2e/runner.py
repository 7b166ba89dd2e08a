"""Runs the test files of a directory that match one of the patterns and ends with one line that
counts."""

import sys
import unittest


def main():
    directory, loader = sys.argv[1], unittest.defaultTestLoader
    suite = unittest.TestSuite(
        loader.discover(directory, pattern=pattern) for pattern in sys.argv[2:]
    )
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, failfast=False).run(suite)
    failed = len(result.failures) + len(result.errors)
    passed = result.testsRun - failed - len(result.skipped)
    print(f"{passed} passed, {failed} failed, {len(result.skipped)} skipped")
    sys.exit(0 if result.wasSuccessful() and passed else 1)


if __name__ == "__main__":
    main()
