"""Where suffice keeps its things, what it does where it can't, and what of a command is never kept."""

from pathlib import Path

import pytest

from suffice.keep.home import MASK, Home, new_run_name, redacted


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"SUFFICE_HOME": "/a", "XDG_DATA_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"SUFFICE_HOME": "", "XDG_DATA_HOME": "/b", "HOME": "/c"}, "/b/suffice"),
        ({"HOME": "/c"}, "/c/.local/share/suffice"),
    ],
)
def test_the_environment_names_the_home(environment: dict[str, str], folder: str) -> None:
    """Suffice's own variable, else the desktop's, else the user's folder."""
    assert Home.of(environment).folder == Path(folder)


def test_a_run_has_a_folder_of_its_own_that_nobody_else_reads(tmp_path: Path) -> None:
    """It is made for its owner alone, and a second one of that name does not share it."""
    home = Home(folder=tmp_path / "home")
    first, second = home.run_folder("a"), home.run_folder("a")
    assert first == tmp_path / "home" / "runs" / "a"
    assert first.stat().st_mode & 0o777 == 0o700
    assert second != first
    second.rmdir()


def test_where_the_home_can_not_be_made_a_run_goes_on_among_the_temporary_files(tmp_path: Path) -> None:
    """A home that is a file is no reason not to measure."""
    (tmp_path / "home").touch()
    home = Home(folder=tmp_path / "home")
    folder = home.run_folder("a")
    assert folder.is_dir()
    assert tmp_path not in folder.parents or folder.parent != home.folder / "runs"
    assert home.folder not in home.agent_cache().parents
    folder.rmdir()


def test_names_of_runs_differ_and_sort_by_time() -> None:
    """Two processes that start in the same second don't take the same name."""
    names = [new_run_name() for _ in range(20)]
    assert len(set(names)) == 20
    assert [name[:15] for name in names] == sorted(name[:15] for name in names)


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (["train", "--api-key", "abc"], ["train", "--api-key", MASK]),
        (["train", "--api_key=abc"], ["train", f"--api_key={MASK}"]),
        (["env", "HF_TOKEN=abc", "train"], ["env", f"HF_TOKEN={MASK}", "train"]),
        (["train", "--password", "--lr", "0.1"], ["train", "--password", "--lr", "0.1"]),
        (["train", "hf_" + "a" * 20], ["train", MASK]),
        (["train", "AKIA" + "A" * 16], ["train", MASK]),
        (["train", "--data", "s3://me:pw@host/x"], ["train", "--data", MASK]),
        (["train", "--lr", "0.1", "--data", "s3://host/x"], ["train", "--lr", "0.1", "--data", "s3://host/x"]),
        (["train", "--tokeniser", "bpe"], ["train", "--tokeniser", "bpe"]),
        (["train", "--max-tokens", "512"], ["train", "--max-tokens", "512"]),
        (["train", "--token-file", "x"], ["train", "--token-file", MASK]),
    ],
)
def test_secrets_are_not_kept(command: list[str], kept: list[str]) -> None:
    """What an option named like a secret holds, and what looks like one, is masked; all else stays."""
    assert list(redacted(command)) == kept
