//! The built-in calibration mixture: real text of ten kinds, see `tools/data/calibration/README.md`.

/// Name and bytes of each part.
const MIXTURE: [(&str, &[u8]); 10] = [
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

/// Which parts of the mixture to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mixture {
    /// Everything.
    #[default]
    All,
    /// Sensor and instrument text: all but prose and code.
    Sensor,
    /// Prose only.
    Prose,
}

impl Mixture {
    /// Name and bytes of each part taken.
    pub fn parts(self) -> impl Iterator<Item = (&'static str, &'static [u8])> {
        MIXTURE.into_iter().filter(move |(name, _)| match self {
            Self::All => true,
            Self::Sensor => !matches!(*name, "prose" | "code"),
            Self::Prose => *name == "prose",
        })
    }
}

/// Splits a text into what scales are chosen by (three quarters) and the hold-out.
pub fn split(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.len() / 4 * 3)
}
