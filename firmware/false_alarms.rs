//! `FW_FALSE_ALARMS`: a share of lines.

/// The largest and the smallest share, in percent, that `mambabyte_core::detect::Rate` has.
const MOST: f64 = 10.0;
const LEAST: f64 = 0.0001;

/// A share such as `1%` as Q32.
///
/// # Errors
/// What it must be.
pub(crate) fn share(text: &str) -> Result<u32, String> {
    if text.contains("/day") {
        return Err("a chip has no clock for alarms by the day; it takes a share, such as 1%".into());
    }
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match percent.filter(|percent| (LEAST..=MOST).contains(percent)) {
        Some(percent) => Ok((percent / 100.0 * 4_294_967_296.0) as u32),
        None => Err(format!("a share between {LEAST}% and {MOST}%, such as 1%")),
    }
}
