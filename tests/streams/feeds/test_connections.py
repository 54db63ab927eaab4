"""Which channels are heard: connections come, overlap and go, and the notes alone tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.schemas.errors import Unreadable
from tidemill.streams.feeds.connections import (
    PREFIX,
    TAIL_NS,
    Connections,
    State,
    Turn,
    Turned,
    socket_message,
    turn_of,
)

KEY = ("public", "BTCUSDT")


def turn(connection: int, state: State, *symbols: str, socket: str = "public") -> Turn:
    return Turn(socket, connection, state, "", symbols or ("BTCUSDT",))


def taken(connections: Connections, *turns: Turn, now: int = 0) -> list[Turned]:
    return [connections.take(t, now) for t in turns]


def test_a_turn_survives_its_message():
    noted = Turn("private/x", 7, "DOWN", 'closed: "bye"', ("BTCUSDT", "BTC-USDT-SWAP"))
    assert socket_message(noted).startswith(PREFIX)
    assert turn_of(socket_message(noted)) == noted


@pytest.mark.parametrize(
    "raw",
    [
        b'{"stream":"socket:x","data":{}}',
        b'{"stream":"socket:x","data":{"connection":1,"state":"SLEEPING","reason":"","symbols":[]}}',
        b'{"stream":"socket:x","data":{"connection":"x","state":"UP","reason":"","symbols":[]}}',
        b'{"stream":"socket:x","data":[',
    ],
)
def test_what_is_no_turn_is_unreadable(raw):
    with pytest.raises(Unreadable):
        turn_of(raw)


def test_a_feed_is_connected_when_everything_wanted_is_heard():
    connections = Connections()
    opening = [turn(1, "OPENING"), turn(2, "OPENING", socket="market")]
    assert [t.connected for t in taken(connections, *opening)] == [None, None]
    first, second = taken(connections, turn(1, "UP"), turn(2, "UP", socket="market"))
    assert (first.connected, first.resumed) == (None, [KEY])
    assert (second.connected, second.connection) == (True, 2)


def test_a_symbol_lapses_when_the_last_connection_that_carries_it_goes():
    connections = Connections()
    up = [turn(c, s) for c in (1, 2) for s in ("OPENING", "UP")]
    taken(connections, *up)
    (one,) = taken(connections, turn(1, "DOWN"))
    assert one.lapsed == [] and one.connected is None and connections.heard(*KEY)
    (two,) = taken(connections, turn(2, "DOWN"))
    assert (two.lapsed, two.connected, two.connection) == ([KEY], False, 1)
    assert not connections.heard(*KEY) and not connections.connected


def test_a_rotation_lapses_nothing_and_may_come_twice_until_a_second_after_it():
    connections = Connections()
    taken(connections, turn(1, "OPENING"), turn(1, "UP"))
    assert not connections.merging(0)
    taken(connections, turn(2, "OPENING"))
    assert connections.merging(10**18)
    told = taken(connections, turn(2, "UP"), turn(1, "CLOSED"), now=5)
    assert all(not t.lapsed and not t.resumed and t.connected is None for t in told)
    assert connections.merging(4 + TAIL_NS) and not connections.merging(5 + TAIL_NS)


def test_a_symbol_that_is_not_wanted_any_more_is_forgotten_when_its_connection_is_closed():
    connections = Connections()
    taken(connections, turn(1, "OPENING", "A", "B"), turn(1, "UP", "A", "B"))
    taken(connections, turn(2, "OPENING", "A"), turn(2, "UP", "A"))
    (closed,) = taken(connections, turn(1, "CLOSED", "A", "B"))
    assert closed.lapsed == [("public", "B")] and connections.connected


def test_an_instrument_that_joins_does_not_disconnect_the_others():
    connections = Connections()
    taken(connections, turn(1, "OPENING", "A"), turn(1, "UP", "A"))
    told = taken(
        connections,
        *(turn(2, "OPENING", "A", "B"), turn(2, "DOWN", "A", "B"), turn(3, "OPENING", "A", "B")),
        *(turn(3, "UP", "A", "B"), turn(1, "CLOSED", "A")),
    )
    assert all(t.connected is None for t in told) and connections.connected
    (down,) = taken(connections, turn(3, "DOWN", "A", "B"))
    assert down.connected is False


def test_a_feed_of_which_nothing_that_was_heard_is_wanted_any_more_is_not_connected():
    connections = Connections()
    turns = [
        *(turn(1, "OPENING", "A"), turn(1, "DOWN", "A"), turn(3, "UP", "A")),
        *(turn(1, "OPENING", "B"), turn(3, "CLOSED", "A")),
    ]
    assert [t.connected for t in taken(connections, *turns)] == [None, None, True, None, False]
    assert not connections.connected


def test_a_failed_opening_is_down_and_nothing_lapses_twice():
    connections = Connections()
    told = taken(connections, turn(1, "OPENING"), turn(1, "DOWN"), turn(2, "OPENING"))
    assert all(not t.lapsed and t.connected is None for t in told)
    assert taken(connections, turn(2, "UP"))[0].connected is True
    assert taken(connections, turn(2, "DOWN"), turn(2, "DOWN"))[1].lapsed == []


def test_a_loop_that_begins_anew_leaves_nothing_heard():
    connections = Connections()
    taken(connections, turn(1, "OPENING"), turn(1, "UP"), turn(2, "OPENING"), turn(2, "UP"))
    (anew,) = taken(connections, Turn("", 0, "DOWN", "began", ("BTCUSDT",)))
    assert (anew.lapsed, anew.connected) == ([KEY], False)
    taken(connections, turn(1, "OPENING"))
    assert not connections.merging(TAIL_NS + 1)
    assert taken(connections, turn(1, "UP"))[0].connected is True


def test_without_notes_everything_is_heard():
    assert Connections().heard(*KEY) and not Connections().merging(0)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.sampled_from(["OPENING", "UP", "DOWN", "CLOSED"]),
            st.sets(st.sampled_from("AB"), min_size=1),
        )
    )
)
def test_what_lapses_was_heard_and_what_resumes_was_not(turns):
    connections, heard = Connections(), set()
    for connection, state, symbols in turns:
        turned = connections.take(Turn("s", connection, state, "", tuple(sorted(symbols))), 0)
        assert not set(turned.resumed) & heard and set(turned.lapsed) <= heard
        heard = (heard | set(turned.resumed)) - set(turned.lapsed)
        for key in heard:
            assert connections.heard(*key)
        if connections.connected:
            assert heard
