"""The name under which a worker comes back to its partitions."""

from __future__ import annotations

from pipeline.streams.identity import claim


def again(folder, topics):
    """The name at one more start."""
    identity = claim(folder)
    name = identity.instance(topics)
    identity._held.close()
    return name


def test_a_worker_comes_back_under_its_name_until_a_topic_is_made_anew(tmp_path):
    names = [again(tmp_path, topics) for topics in ("a", "a", "b", "b", "a")]
    assert names[0] == names[1] == names[4] != names[2] == names[3]


def test_an_upgrade_keeps_the_name_and_notes_the_topics(tmp_path):
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "0.lock").touch()  # somebody was here, who noted none
    names = [again(tmp_path, topics) for topics in ("a", "a", "b")]
    assert names[0] == names[1] == names[2].removesuffix("-b")
    assert names[0].endswith("-0")


def test_without_ids_of_topics_the_name_is_plain(tmp_path):
    assert again(tmp_path, "").endswith("-0")


def test_workers_that_share_a_folder_have_names_of_their_own(tmp_path):
    one, other = claim(tmp_path), claim(tmp_path)
    assert one.instance("a") != other.instance("a")
    one._held.close()
    other._held.close()
