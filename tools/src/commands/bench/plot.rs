//! The figures as a picture.

use plotters::prelude::*;
use serde_json::Value;

use super::json::{number, rows};
use crate::error::CliError;

/// Decode and prefill of every model at every number of threads, on a logarithmic scale.
pub(super) fn svg(report: &Value) -> Result<String, CliError> {
    let failed = |e: &dyn std::fmt::Display| CliError::Usage(format!("--plot: {e}"));
    let mut out = String::new();
    let models = rows(&report["models"]);
    let bars: Vec<Vec<(String, f64)>> = models
        .iter()
        .map(|model| {
            let runs = rows(&model["runs"]);
            let of = |key: &'static str| {
                runs.iter().map(move |run| (format!("{key}, threads: {}", run["threads"]), number(&run[key])))
            };
            of("decode").chain(of("prefill")).collect()
        })
        .collect();
    let kinds: Vec<String> = bars.first().map(|b| b.iter().map(|(name, _)| name.clone()).collect()).unwrap_or_default();
    let values = || bars.iter().flatten().map(|b| b.1).filter(|v| *v > 0.0);
    let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(1.0, f64::max));
    if kinds.is_empty() || low > high {
        return Err(failed(&"there is nothing to plot"));
    }
    {
        let width = 200 + 130 * models.len() as u32;
        let root = SVGBackend::with_string(&mut out, (width, 420)).into_drawing_area();
        root.fill(&WHITE).map_err(|e| failed(&e))?;
        let caption = format!(
            "bytes per second, {} ({})",
            report["cpu"].as_str().unwrap_or(""),
            report["backend"].as_str().unwrap_or("")
        );
        let mut chart = ChartBuilder::on(&root)
            .caption(caption, ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(28)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..models.len() as f64, (low / 2.0..high * 2.0).log_scale())
            .map_err(|e| failed(&e))?;
        let name = |x: &f64| {
            let model = models.get(x.floor().max(0.0) as usize).and_then(|m| m["name"].as_str());
            if (x.fract() - 0.5).abs() < 0.01 { model.unwrap_or("").to_owned() } else { String::new() }
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(2 * models.len() + 1)
            .x_label_formatter(&name)
            .y_label_formatter(&|y| format!("{y:.0}"))
            .y_desc("bytes/s")
            .draw()
            .map_err(|e| failed(&e))?;
        let slot = 0.8 / kinds.len() as f64;
        for (k, kind) in kinds.iter().enumerate() {
            let color = Palette99::pick(k).to_rgba();
            let boxes = bars.iter().enumerate().filter_map(|(m, bars)| {
                let value = bars.get(k)?.1;
                let left = m as f64 + 0.1 + k as f64 * slot;
                Some(Rectangle::new([(left, low / 2.0), (left + 0.92 * slot, value)], color.filled()))
            });
            chart
                .draw_series(boxes)
                .map_err(|e| failed(&e))?
                .label(kind.as_str())
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(|e| failed(&e))?;
        root.present().map_err(|e| failed(&e))?;
    }
    Ok(out)
}
