//! What the detector says, in words.

use mambabyte_core::detect::{Detector, Event, JUDGED, LEARNING, Verdict};

use crate::records::{Found, learned, q8, share};

/// Why a line is odd, for people; nothing if it is not.
pub(super) fn words(found: &Found) -> String {
    if !found.odd && !found.alarm {
        return String::new();
    }
    let mark = match found {
        Found { alarm: true, .. } => "! alarm",
        Found { fine: true, .. } => "fine",
        _ => "odd",
    };
    let rarity = found.rarity.map_or_else(String::new, |rarity| format!("rarity {:.1} bits, ", q8(rarity)));
    let worst = found.worst.as_ref().map_or_else(String::new, |worst| {
        let likely: Vec<String> = worst.instead.iter().map(|&(byte, _)| shown(byte)).collect();
        let likely = if likely.is_empty() { String::new() } else { format!("; likely were {}", likely.join(" ")) };
        let (at, byte, bits) = (worst.offset, shown(worst.byte), q8(worst.bits));
        format!("byte {at} ({byte}) cost {bits:.1} bits{likely}")
    });
    let why = match found.reason {
        Some("byte") => worst,
        Some("stretch") => format!("eight bytes in a row are unusual; {worst}"),
        Some("peak") => "eight bytes in a row are above the threshold".to_owned(),
        _ => "its mean is above the threshold".to_owned(),
    };
    let seen = found.seen.map_or_else(String::new, |seen| format!(", seen {seen} times"));
    format!("  {mark}: {rarity}{why}{seen}")
}

/// A byte in words.
fn shown(byte: u8) -> String {
    match byte {
        b'\n' => "end of line".to_owned(),
        b' '..=b'~' => format!("'{}'", char::from(byte)),
        _ => format!("0x{byte:02x}"),
    }
}

/// An event at line `line`, for people.
pub(super) fn sentence(event: Event, line: u64, verdict: &Verdict) -> String {
    let what = match event {
        Event::Learned => {
            let odd = learned(verdict);
            let list: Vec<String> = odd.iter().map(u8::to_string).collect();
            let odd = match odd.len() {
                0 => "none of them is odd".to_owned(),
                JUDGED.. => format!("the oddest of them: {}", list.join(", ")),
                _ => format!("odd among them: {}", list.join(", ")),
            };
            format!("the first {LEARNING} lines are learned; {odd}")
        }
        Event::MoreOdd => {
            format!("more odd lines than before: {:.0} % of the last 64, usual are 3 %", 100.0 * share(verdict))
        }
        Event::NewNormal => "so many odd lines are the new normal; what is usual is learned anew".to_owned(),
        Event::NewKind => "a new kind of line; it is learned for itself".to_owned(),
        Event::Frozen => "each of the last 32 lines was one of the eight before it: is the sender frozen?".to_owned(),
        Event::UnknownText => "the model does not know this text; what is found, an adapter finds".to_owned(),
    };
    format!("line {line}: {}: {what}", event.name())
}

/// How many lines the detector will still learn from before the first alarm, and that in words.
pub(super) fn learning(detector: &Detector) -> Option<(u32, String)> {
    let rest = LEARNING.checked_sub(detector.lines()).filter(|&rest| rest > 0)?;
    let words = format!("learning what is usual: no alarm in the next {rest} lines, those are judged afterwards");
    Some((rest, words))
}
