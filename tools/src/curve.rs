//! The learning curve as a picture: bits per byte by position.

use mambabyte_host::bpb::PositionBin;
use plotters::prelude::*;

use crate::error::CliError;

/// One line of the picture.
#[derive(Clone, Copy, Debug)]
pub struct Curve<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its points, in ascending order.
    pub bins: &'a [PositionBin],
}

/// The middle of a bin on a logarithmic axis.
fn middle(bin: &PositionBin) -> f64 {
    (bin.start.max(8) as f64 * bin.end as f64).sqrt()
}

/// The picture, positions on a logarithmic axis.
///
/// # Errors
/// [`CliError::Usage`] if there is nothing to draw.
pub fn svg(curves: &[Curve<'_>]) -> Result<String, CliError> {
    let failed = |e: &dyn std::fmt::Display| CliError::Usage(format!("--plot: {e}"));
    let bins = || curves.iter().flat_map(|curve| curve.bins);
    let right = bins().map(middle).fold(0.0, f64::max) * 1.5;
    if right == 0.0 {
        return Err(failed(&"there is nothing to plot"));
    }
    let high = bins().map(PositionBin::bits_per_byte).fold(1.0, f64::max) * 1.05;
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, (820, 400)).into_drawing_area();
        root.fill(&WHITE).map_err(|e| failed(&e))?;
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d((16.0..right).log_scale(), 0.0..high)
            .map_err(|e| failed(&e))?;
        chart
            .configure_mesh()
            .x_desc("position, bytes")
            .y_desc("bits per byte")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .draw()
            .map_err(|e| failed(&e))?;
        for (number, curve) in curves.iter().enumerate() {
            let color = Palette99::pick(number).to_rgba();
            let points: Vec<(f64, f64)> = curve.bins.iter().map(|bin| (middle(bin), bin.bits_per_byte())).collect();
            let dots = points.iter().map(|&point| Circle::new(point, 3, color.filled()));
            chart.draw_series(dots).map_err(|e| failed(&e))?;
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))
                .map_err(|e| failed(&e))?
                .label(curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(|e| failed(&e))?;
        root.present().map_err(|e| failed(&e))?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_is_named_and_drawn() {
        let bin = |start, end, bits| PositionBin { start, end, bits, bytes: 64 };
        let bins = [bin(0, 64, 500.0), bin(64, 128, 100.0)];
        let drawn = svg(&[Curve { name: "net", bins: &bins }, Curve { name: "mixed", bins: &bins[..1] }]).unwrap();
        assert!(drawn.contains("net") && drawn.contains("mixed") && drawn.ends_with("</svg>\n"));
        assert_eq!(drawn.matches("<circle").count(), 3);
        assert!(svg(&[Curve { name: "net", bins: &[] }]).is_err());
    }
}
