//! The conversion report: one HTML file that needs nothing else.

use std::fmt::Write;

use mambabyte_core::Blob;
use mambabyte_host::quantize::{ActivationReport, Quantized};
use plotters::prelude::*;

use crate::measured::Measured;
use crate::output::{bytes, clean, hex, thousands};

/// What a report is made of.
pub struct Input<'a> {
    /// Where the weights came from.
    pub checkpoint: &'a str,
    /// The result.
    pub blob: Blob<'a>,
    /// Trained parameters.
    pub parameters: usize,
    /// Per tensor and activation.
    pub quantized: &'a Quantized,
    /// Bits per byte.
    pub measured: &'a Measured,
    /// Calibration texts, and how much of each was used.
    pub texts: &'a [String],
    /// Sentences.
    pub notes: &'a [String],
}

const COLORS: [RGBColor; 8] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(23, 190, 207),
    RGBColor(140, 86, 75),
    RGBColor(90, 90, 90),
];

fn escape(text: &str) -> String {
    clean(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The page.
pub fn page(input: &Input<'_>) -> String {
    let Input { blob, quantized, measured, .. } = input;
    let mut out = String::new();
    let _ = write!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8><title>{0}: conversion report</title>\n<style>\
         body{{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}\
         table{{border-collapse:collapse}}td,th{{padding:.15rem .7rem;text-align:right;border-bottom:1px solid #ddd}}\
         td:first-child,th:first-child{{text-align:left}}h2{{margin-top:2.2rem}}svg{{max-width:100%;height:auto}}\
         .grid{{display:grid;grid-template-columns:repeat(auto-fill,minmax(18rem,1fr));gap:.5rem}}</style>\n\
         <h1>{0}</h1>\n",
        escape(blob.name())
    );
    let _ = write!(
        out,
        "<p>{} &rarr; {} ({:.4} bytes per parameter, {} parameters), fingerprint <code>{}</code>.</p>\n\
         <table><tr><th>hold-out, {} bytes<th>f32<th>integer<th>difference\n\
         <tr><td>bits per byte<td>{:.5}<td>{:.5}<td>{:+.5}</table>\n<p>Calibrated on {}.</p>\n",
        escape(input.checkpoint),
        bytes(quantized.blob.len() as u64),
        quantized.blob.len() as f64 / input.parameters as f64,
        thousands(input.parameters as u64),
        hex(&blob.fingerprint()),
        thousands(measured.f32.bytes as u64),
        measured.f32.bits_per_byte(),
        measured.int.bits_per_byte(),
        measured.delta(),
        escape(&input.texts.join(", ")),
    );
    if !input.notes.is_empty() {
        out.push_str("<ul>");
        for note in input.notes {
            let _ = writeln!(out, "<li>{}", escape(note));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("<h2>Rounding of the weights</h2><p>Signal over rounding noise of each tensor, by layer.</p>\n");
    out.push_str(&or_text(sqnr_plot(input)));
    out.push_str(
        "<h2>Does the quantised state drift?</h2><p>Bits per byte by position in the stream, f32 and integer.</p>\n",
    );
    out.push_str(&or_text(position_plot(input)));
    out.push_str(
        "<h2>Activations</h2><p>How often a magnitude occurred on the hold-out, by octave (log scale); the red line is \
         where the integer saturates, the number the share beyond it.</p>\n<div class=grid>\n",
    );
    for a in &quantized.activations {
        let _ = writeln!(out, "<div>{}</div>", or_text(histogram_plot(a, blob.dims().n_layer)));
    }
    out.push_str("</div>\n<h2>Tensors</h2><table><tr><th>tensor<th>layer<th>SQNR, dB<th>largest accumulator / 2^31\n");
    for t in &quantized.tensors {
        let layer = if t.layer == blob.dims().n_layer { "-".to_owned() } else { t.layer.to_string() };
        let _ = writeln!(out, "<tr><td>{}<td>{layer}<td>{:.2}<td>{:.4}", t.tensor, t.sqnr_db, t.accumulator_share);
    }
    out.push_str("</table></html>\n");
    out
}

type Drawn = Result<String, Box<dyn std::error::Error>>;

/// A plot that cannot be drawn is mentioned; it does not stop the conversion.
fn or_text(drawn: Drawn) -> String {
    drawn.unwrap_or_else(|e| format!("<p>not drawn: {}</p>", escape(&e.to_string())))
}

fn sqnr_plot(input: &Input<'_>) -> Drawn {
    let mut svg = String::new();
    let tensors = &input.quantized.tensors;
    let n_layer = input.blob.dims().n_layer;
    let mut names: Vec<&str> = Vec::new();
    for t in tensors.iter().filter(|t| t.layer < n_layer) {
        if !names.contains(&t.tensor) {
            names.push(t.tensor);
        }
    }
    let finite = |x: f64| x.clamp(0.0, 90.0);
    let high = tensors.iter().map(|t| finite(t.sqnr_db)).fold(10.0, f64::max) + 3.0;
    let low = tensors.iter().map(|t| finite(t.sqnr_db)).fold(high, f64::min) - 3.0;
    {
        let root = SVGBackend::with_string(&mut svg, (820, 320)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d(-0.2..n_layer as f64 - 0.8, low..high)?;
        chart.configure_mesh().x_desc("layer").y_desc("SQNR, dB").x_labels(n_layer.min(16)).draw()?;
        for (i, name) in names.iter().enumerate() {
            let color = COLORS[i % COLORS.len()];
            let points: Vec<(f64, f64)> = tensors
                .iter()
                .filter(|t| t.tensor == *name && t.layer < n_layer)
                .map(|t| (t.layer as f64, finite(t.sqnr_db)))
                .collect();
            chart.draw_series(points.iter().map(|&p| Circle::new(p, 3, color.filled())))?;
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
        root.present()?;
    }
    Ok(svg)
}

fn position_plot(input: &Input<'_>) -> Drawn {
    let mut svg = String::new();
    let series = [("f32", &input.measured.f32, COLORS[0]), ("integer", &input.measured.int, COLORS[1])];
    let bins = &input.measured.f32.by_position;
    let high = series.iter().flat_map(|s| s.1.by_position.iter().map(|b| b.bits_per_byte())).fold(0.1, f64::max) * 1.1;
    {
        let root = SVGBackend::with_string(&mut svg, (820, 300)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..bins.len().max(2) as f64 - 1.0, 0.0..high)?;
        let label = |x: &f64| bins.get(x.round() as usize).map_or(String::new(), |b| format!("{}..", b.start));
        chart
            .configure_mesh()
            .x_desc("position in the stream (bytes, doubling)")
            .y_desc("bits per byte")
            .x_labels(bins.len())
            .x_label_formatter(&label)
            .draw()?;
        for (name, score, color) in series {
            let points = score.by_position.iter().enumerate().map(|(i, b)| (i as f64, b.bits_per_byte()));
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
        root.present()?;
    }
    Ok(svg)
}

fn histogram_plot(a: &ActivationReport, n_layer: usize) -> Drawn {
    let mut svg = String::new();
    let place = if a.layer == n_layer { "head".to_owned() } else { format!("layer {}", a.layer) };
    let log = |n: u64| if n == 0 { 0.0 } else { (n as f64).log10() + 0.2 };
    let high = a.histogram.iter().map(|&n| log(n)).fold(1.0, f64::max);
    let clip = a.clip.log2() + 24.0;
    {
        let root = SVGBackend::with_string(&mut svg, (300, 150)).into_drawing_area();
        let caption = format!("{}, {place}: {:.4} %", a.activation, 100.0 * a.clipped_share);
        let mut chart = ChartBuilder::on(&root)
            .caption(caption, ("sans-serif", 13))
            .margin(4)
            .x_label_area_size(20)
            .build_cartesian_2d(4.0..44.0, 0.0..high)?;
        let octave = |x: &f64| format!("2^{}", x - 24.0);
        chart.configure_mesh().disable_mesh().x_labels(6).y_labels(0).x_label_formatter(&octave).draw()?;
        let bars = a.histogram.iter().enumerate().filter(|(_, n)| **n > 0);
        chart.draw_series(bars.map(|(b, &n)| {
            Rectangle::new([(b as f64 + 0.05, 0.0), (b as f64 + 0.95, log(n))], COLORS[0].mix(0.75).filled())
        }))?;
        chart.draw_series([PathElement::new([(clip, 0.0), (clip, high)], COLORS[1].stroke_width(2))])?;
        root.present()?;
    }
    Ok(svg)
}
