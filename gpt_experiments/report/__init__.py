"""From a sweep in the store to a report that a person reads."""

from gpt_experiments.report.write import ReportFiles, write_report

__all__ = ["ReportFiles", "write_report"]
