//! Numbers: in the same place of the same type of line, the last value and the last difference say the next one, digit by
//! digit. Up to nine digits; the decimal point stays where it was.

use super::math::{hash, scaled};
use super::memory::Parts;
use super::stream::{NO_POINT, Number, Pending};

/// The slot of the number at this place of the stream, and its check.
fn slot(parts: &Parts<'_>) -> (u16, u8) {
    let key = hash(hash(781, parts.stream.type_and_field()), parts.pending.runs as u32);
    (scaled(key, parts.numbers.len()) as u16, (key >> 26 | 1) as u8)
}

/// The byte that the number expects, and the class of that expectation: how often the difference came, how many digits
/// are to come.
pub(crate) fn expected(parts: &mut Parts<'_>) -> Option<(u8, u8)> {
    if parts.pending.phase == 0 {
        begin(parts);
    }
    let pending = &*parts.pending;
    if pending.agrees == 0 {
        return None;
    }
    let streak = parts.numbers.get(pending.slot as usize).map_or(0, |number| number.streak());
    if pending.phase == 1 && pending.width == pending.expected_point {
        return Some((b'.', streak * 8 + 7));
    }
    let digit = pending.digit()?;
    Some((digit, streak * 8 + (pending.expected - 1 - pending.width).min(6)))
}

/// Works out what a number that begins here would be.
fn begin(parts: &mut Parts<'_>) {
    let (slot, check) = slot(parts);
    let Some(&number) = parts.numbers.get(slot as usize) else { return };
    let pending = &mut *parts.pending;
    *pending = Pending { runs: pending.runs, slot, ..Pending::NONE };
    if number.check() != check || number.width() == 0 {
        return;
    }
    let sum = number.value.wrapping_add(number.difference as i32 as u32);
    let mut rest = if sum as i32 >= 0 { sum } else { number.value };
    let kept = number.width().min(9) as usize;
    pending.expected = number.width();
    for digit in pending.digits[..kept].iter_mut().rev() {
        let tenth = tenth(rest);
        *digit = b'0' + (rest - tenth * 10) as u8;
        rest = tenth;
    }
    // One more digit in front: 99 and then 100.
    if rest != 0 && number.width() < 9 {
        pending.digits.copy_within(..kept, 1);
        pending.digits[0] = b'0' + (rest - tenth(rest) * 10) as u8;
        pending.expected += 1;
    }
    pending.agrees = 1;
    pending.expected_point = match number.point() {
        NO_POINT => 255,
        point => point + (pending.expected > number.width()) as u8,
    };
}

/// `x / 10`, for chips that have no division.
#[inline(always)]
fn tenth(x: u32) -> u32 {
    ((x as u64 * 0xcccc_cccd) >> 35) as u32
}

/// Reads a byte.
pub(crate) fn follow(parts: &mut Parts<'_>, byte: u8) {
    let pending = &mut *parts.pending;
    if byte.is_ascii_digit() {
        if pending.phase == 0 {
            pending.phase = 1;
        }
        // More digits than expected, or another one: not the number that was meant.
        if pending.agrees != 0 && pending.width >= pending.skipped() && pending.digit() != Some(byte) {
            pending.agrees = 0;
        }
        if pending.width >= 9 {
            pending.value %= 100_000_000;
        }
        pending.value = pending.value * 10 + (byte - b'0') as u32;
        pending.width = if pending.width < 250 { pending.width + 1 } else { 250 };
    } else if byte == b'.' && pending.phase == 1 {
        if pending.agrees != 0 && pending.expected_point != pending.width {
            pending.agrees = 0;
        }
        pending.phase = 2;
        pending.before_point = pending.width;
        pending.expected_point = 254;
    } else if pending.phase != 0 {
        end(parts);
    }
}

/// A number is over: remembers it and its difference from the last one.
fn end(parts: &mut Parts<'_>) {
    let (slot, check) = slot(parts);
    let pending = &mut *parts.pending;
    if let Some(number) = parts.numbers.get_mut(slot as usize) {
        let (mut difference, mut streak) = (0, 0);
        if number.check() == check && number.width() != 0 {
            let found = pending.value.wrapping_sub(number.value) as i32;
            (difference, streak) = match i16::try_from(found) {
                Ok(same) if same == number.difference => (same, (number.streak() + 1).min(3)),
                Ok(other) => (other, if number.streak() > 1 { number.streak() - 1 } else { 0 }),
                Err(_) => (0, 0),
            };
        }
        let point = if pending.phase == 2 { pending.before_point.min(14) } else { NO_POINT };
        *number = Number {
            value: pending.value,
            difference,
            shape: pending.width.min(15) << 4 | point,
            mark: streak << 6 | check,
        };
    }
    pending.phase = 0;
    pending.runs = pending.runs.wrapping_add(1);
}
