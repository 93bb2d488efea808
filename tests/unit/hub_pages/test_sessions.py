from edgewise.hub.pages.sessions import LIFE_S, Sessions


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


def test_a_session_is_found_by_its_id_and_by_nothing_else():
    sessions = Sessions(Clock())
    session_id, session = sessions.opened("ew-token")
    assert sessions.found(session_id) is session
    assert sessions.found("") is None
    assert sessions.found(session_id[:-1]) is None
    assert session_id not in repr(vars(sessions))


def test_a_session_ends_after_twelve_hours_however_much_it_is_used():
    clock = Clock()
    sessions = Sessions(clock)
    session_id, _ = sessions.opened("ew-token")
    clock.now_s += LIFE_S - 1.0
    assert sessions.found(session_id) is not None
    clock.now_s += 1.0
    assert sessions.found(session_id) is None


def test_a_closed_session_is_gone_and_closing_it_again_is_no_harm():
    sessions = Sessions(Clock())
    session_id, _ = sessions.opened("ew-token")
    sessions.close(session_id)
    sessions.close(session_id)
    assert sessions.found(session_id) is None


def test_ids_and_form_keys_are_never_the_same():
    sessions = Sessions(Clock())
    drawn = [sessions.opened("ew-token") for _ in range(50)]
    assert len({session_id for session_id, _ in drawn} | {session.form_key for _, session in drawn}) == 100


def test_a_form_of_another_session_is_not_of_this_one():
    sessions = Sessions(Clock())
    _, one = sessions.opened("ew-token")
    _, other = sessions.opened("ew-token")
    assert one.sent(one.form_key)
    assert not one.sent(other.form_key)
    assert not one.sent("")
    assert not one.sent("ümläut")


def test_there_are_never_more_sessions_than_memory_is_meant_for():
    sessions = Sessions(Clock())
    first, _ = sessions.opened("ew-token")
    others = [sessions.opened("ew-token")[0] for _ in range(1000)]
    assert sessions.found(first) is None
    assert all(sessions.found(session_id) for session_id in others)


def test_neither_token_nor_form_key_is_in_what_a_log_would_show():
    _, session = Sessions(Clock()).opened("the-token")
    assert "the-token" not in repr(session)
    assert session.form_key not in repr(session)


def test_a_notice_is_said_once():
    _, session = Sessions(Clock()).opened("ew-token")
    session.notice = "pets was paused."
    assert session.take_notice() == "pets was paused."
    assert session.take_notice() == ""
