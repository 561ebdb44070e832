"""What is accepted for others to run is what is offered."""

from app.executors.elsewhere import ElsewhereExecutor
from app.languages import all_languages


def test_only_what_is_offered_is_accepted() -> None:
    executor, languages = ElsewhereExecutor(frozenset({"PYTHON"})), all_languages()
    assert executor.supports(languages["PYTHON"]).is_available
    assert not executor.supports(languages["C"]).is_available
