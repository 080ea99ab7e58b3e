"""Turns a sweep in the store into a report."""

from gpt_experiments.report.write import ReportFiles, write_report

__all__ = ["ReportFiles", "write_report"]
