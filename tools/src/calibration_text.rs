//! The built-in calibration mixture: real text of ten kinds, see `tools/data/calibration/README.md`.

/// Name and bytes of each part.
pub const MIXTURE: [(&str, &[u8]); 10] = [
    ("gnss_nmea", include_bytes!("../data/calibration/gnss_nmea.txt")),
    ("gpsd_json", include_bytes!("../data/calibration/gpsd_json.txt")),
    ("ais_aivdm", include_bytes!("../data/calibration/ais_aivdm.txt")),
    ("n2k_raw", include_bytes!("../data/calibration/n2k_raw.txt")),
    ("metar", include_bytes!("../data/calibration/metar.txt")),
    ("nws_text", include_bytes!("../data/calibration/nws_text.txt")),
    ("weather_csv", include_bytes!("../data/calibration/weather_csv.txt")),
    ("gcode", include_bytes!("../data/calibration/gcode.txt")),
    ("prose", include_bytes!("../data/calibration/prose.txt")),
    ("code", include_bytes!("../data/calibration/code.txt")),
];

/// Splits a text into what scales are chosen by (three quarters) and the hold-out.
pub fn split(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.len() / 4 * 3)
}
