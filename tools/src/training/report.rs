//! The page of a run: one HTML file that needs nothing else.

use std::fmt::Write;

use plotters::prelude::*;

use super::log::{Log, Points};
use super::recipe::Recipe;
use crate::curve::{self, Curve};
use crate::measured::Measured;
use crate::output::{clean, thousands};

fn escape(text: &str) -> String {
    clean(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The page.
pub fn page(recipe: &Recipe, log: &Log, parameters: usize, measured: &Measured) -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8><title>{0}: training</title>\n<style>\
         body{{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}\
         pre{{background:#f5f5f5;padding:.5rem;white-space:pre-wrap;overflow-wrap:anywhere}}\
         table{{border-collapse:collapse}}td,th{{padding:.15rem .7rem;text-align:right;border-bottom:1px solid #ddd}}\
         td:first-child,th:first-child{{text-align:left}}svg{{max-width:100%;height:auto}}</style>\n\
         <h1>{0}</h1>\n<p>{1} x {2} layers, {3} parameters.</p>\n<pre>{4}</pre>\n",
        escape(&recipe.name),
        recipe.shape.d_model,
        recipe.shape.n_layer,
        thousands(parameters as u64),
        escape(&recipe.command()),
    );
    let _ = write!(
        out,
        "<table><tr><th>hold-out, {} bytes<th>f32<th>integer<th>difference\n\
         <tr><td>bits per byte<td>{:.5}<td>{:.5}<td>{:+.5}</table>\n",
        thousands(measured.f32.bytes as u64),
        measured.f32.bits_per_byte(),
        measured.int.bits_per_byte(),
        measured.delta(),
    );
    let faults = log.texts("fault");
    if !faults.is_empty() {
        out.push_str("<h2>Steps that could not be made</h2><ul>\n");
        for (step, fault) in &faults {
            let _ = writeln!(out, "<li>step {}: {}", thousands(*step), escape(fault));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("<h2>Bits per byte</h2>\n");
    let series = [("training text, as it is read", log.points("bits_per_byte")), ("hold-out", log.points("holdout"))];
    out.push_str(&or_text(plot(&series, "bits per byte")));
    out.push_str("<h2>By position in the hold-out</h2>\n");
    let curves = [
        Curve { name: "f32", bins: &measured.f32.by_position },
        Curve { name: "integer", bins: &measured.int.by_position },
    ];
    out.push_str(&curve::svg(&curves).unwrap_or_else(|e| format!("<p>not drawn: {}</p>", escape(&e.to_string()))));
    out.push_str("<h2>Norm of the gradient, before clipping</h2>\n");
    out.push_str(&or_text(plot(&[("norm", log.points("norm"))], "norm")));
    out.push_str("<h2>Rate</h2>\n");
    out.push_str(&or_text(plot(&[("rate", log.points("rate"))], "rate")));
    out.push_str("<h2>What it wrote</h2>\n");
    for (step, sample) in log.texts("sample") {
        let _ = writeln!(out, "<p>After {} steps:</p><pre>{}</pre>", thousands(step), lines(&sample));
    }
    out.push_str("</html>\n");
    out
}

/// A sample with its line ends.
fn lines(sample: &str) -> String {
    sample.split('\n').map(escape).collect::<Vec<_>>().join("\n")
}

type Drawn = Result<String, Box<dyn std::error::Error>>;

fn or_text(drawn: Drawn) -> String {
    drawn.unwrap_or_else(|e| format!("<p>not drawn: {}</p>", escape(&e.to_string())))
}

/// Series over steps.
fn plot(series: &[(&str, Points)], what: &str) -> Drawn {
    let all = || series.iter().flat_map(|(_, points)| points);
    let right = all().map(|p| p.0).fold(1.0, f64::max);
    let high = all().map(|p| p.1).filter(|y| y.is_finite()).fold(0.0, f64::max) * 1.05;
    if high <= 0.0 {
        return Err("there is nothing to plot".into());
    }
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (820, 300)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..right, 0.0..high)?;
        chart.configure_mesh().x_desc("step").y_desc(what).x_label_formatter(&|x| format!("{x:.0}")).draw()?;
        for (number, (name, points)) in series.iter().enumerate() {
            let color = Palette99::pick(number).to_rgba();
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
        root.present()?;
    }
    Ok(svg)
}
