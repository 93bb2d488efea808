"""How old files are for a clock that jumps, is behind, or stands still while the device is off: on virtual time."""

import pytest

from edgewise.spool.clock_watch import MOST_JUMPS, ClockMemory, Jump, look_at_clock
from edgewise.spool.counters import Books, books_bytes, read_books

HOUR_S, DAY_S, NOW_S = 3600.0, 86400.0, 1.8e9


class Device:
    """Files, looks, and how long the device was on."""

    def __init__(self, retention_s):
        self.retention_s = retention_s
        self.memory = ClockMemory()
        self.now_s = NOW_S
        self.on_s = 0.0
        self.files = {}
        self.gone_after_s = {}

    def write(self, name):
        self.files[name] = (self.now_s, self.on_s)

    def look(self, clock_error_s=0.0):
        now_s = self.now_s + clock_error_s
        look = look_at_clock(self.memory, now_s, self.retention_s)
        for name, (changed_s, on_s) in list(self.files.items()):
            if not look.earliest_s <= look.time_s(changed_s) <= look.latest_s:
                self.files[name] = (look.anew_s, on_s)
            elif look.is_believed and look.time_s(changed_s) <= now_s - self.retention_s:
                del self.files[name]
                self.gone_after_s[name] = self.on_s - on_s
        if look.memory.is_worth_writing(self.memory):
            self.memory = look.memory

    def day(self, name, on_s, off_s, step_s=250.0):
        """On for a while, with a file in the middle of it, then off."""
        for number in range(int(on_s // step_s)):
            if number == on_s // step_s // 2:
                self.write(name)
            self.look()
            self.now_s += step_s
            self.on_s += step_s
        self.now_s += off_s


@pytest.mark.parametrize(
    ("retention_days", "on_h", "off_h", "days"), [(1, 12, 12, 6), (3, 12, 12, 12), (2, 8, 160, 16), (1, 0.5, 3, 120)]
)
def test_on_a_device_that_is_off_each_night_the_retention_is_of_the_time_that_it_was_on(
    retention_days, on_h, off_h, days
):
    device = Device(retention_days * DAY_S)
    for day in range(days):
        device.day(day, on_h * HOUR_S, off_h * HOUR_S)
    assert device.gone_after_s, "the retention never ends"
    # A jump of which nobody has looked for a while costs as much of the time that counts.
    for on_s in device.gone_after_s.values():
        assert 0.9 * device.retention_s <= on_s <= 1.2 * device.retention_s
    assert len(device.files) <= 1.3 * retention_days * 24 / on_h
    assert len(device.memory.jumps) <= MOST_JUMPS


def test_short_nights_count_for_a_long_retention():
    device = Device(10 * DAY_S)
    for day in range(14):
        device.day(day, 12 * HOUR_S, 12 * HOUR_S, step_s=HOUR_S)
    assert device.gone_after_s[0] == pytest.approx(5 * DAY_S, rel=0.1)
    assert device.memory.jumps == ()


def test_a_clock_that_boots_in_the_past_each_day_keeps_nothing_for_good():
    device = Device(DAY_S)
    for day in range(8):
        device.look(clock_error_s=-63e6)
        if day == 3:
            device.files["wrong"] = (device.now_s - 63e6, device.on_s)
        device.day(day, 12 * HOUR_S, 12 * HOUR_S)
    assert "wrong" in device.gone_after_s
    for on_s in device.gone_after_s.values():
        assert 0.9 * DAY_S <= on_s <= 1.2 * DAY_S


def test_a_first_start_with_a_wrong_clock_costs_nothing_of_the_retention():
    device = Device(DAY_S)
    device.now_s -= 63e6
    device.write("wrong")
    for _ in range(48):
        device.look()
        device.now_s += 900.0
        device.on_s += 900.0
    device.now_s += 63e6
    for _ in range(52):
        device.look()
        device.now_s += 900.0
        device.on_s += 900.0
    assert device.gone_after_s["wrong"] == pytest.approx(DAY_S, rel=0.05)


def test_a_clock_that_goes_through_the_same_times_again_makes_no_file_older():
    """It boots in 2024 each time; the first time, nobody knew better."""
    device = Device(DAY_S)
    device.now_s -= 63e6
    device.day("first", 2 * HOUR_S, 63e6)
    for day in range(6):
        device.day(day, 2 * HOUR_S, 22 * HOUR_S)
        if day == 4:
            wrong_s = NOW_S - 63e6 + 2 * HOUR_S
            device.look(clock_error_s=wrong_s - device.now_s)
            device.files["wrong"] = (wrong_s, device.on_s)
    for day in range(6, 20):
        device.day(day, 2 * HOUR_S, 22 * HOUR_S)
    assert {"first", "wrong"} <= device.gone_after_s.keys()
    assert min(device.gone_after_s.values()) >= 0.9 * DAY_S
    assert max(device.gone_after_s.values()) <= 1.6 * DAY_S


def test_jumps_are_kept_with_the_counters():
    clock = ClockMemory(NOW_S, None, (Jump(NOW_S - 10, NOW_S, 40_000.0), Jump(NOW_S, NOW_S + 5, 3.0, 1.5)))
    assert read_books(books_bytes(Books(clock=clock))).clock == clock


@pytest.mark.parametrize("jump", ["7", "[1,2,3]", "[1,2,3,-4]", '[1,2,3,"4"]', "[1,2,3,1e19]"])
def test_jumps_that_are_none_are_said(jump, caplog):
    content = books_bytes(Books(clock=ClockMemory(NOW_S))).replace(
        b'"clock_jumps_s":[]', b'"clock_jumps_s":[%s]' % jump.encode()
    )
    assert read_books(content) == Books()
    assert "expected four numbers; counting begins again from 0" in caplog.text
