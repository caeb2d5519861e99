"""What a run came to, for people: a page that needs nothing else, and a card for its model.

:func:`write_report` reads what training has left in the run's directory, and asks the model for the
reasons of a few predictions. Names come from users' files: templates escape all text, and the
page's policy lets it load nothing and run nothing.
"""

from kgscale.tasks.report.page import REPORT
from kgscale.tasks.report.write import write_report

__all__ = ["REPORT", "write_report"]
