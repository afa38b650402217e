//! Plots: lines over two logarithmic axes, as SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

/// Width and height, pixels.
const SIZE: (u32, u32) = (880, 460);

/// The colours of lines, in turn.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1b, 0x6c, 0xa8),
    RGBColor(0xc0, 0x39, 0x2b),
    RGBColor(0x2e, 0x8b, 0x57),
    RGBColor(0x8e, 0x44, 0xad),
    RGBColor(0xd6, 0x8a, 0x10),
    RGBColor(0x55, 0x55, 0x55),
];

/// A plot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What goes to the right.
    pub x: String,
    /// What goes up.
    pub y: String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Whose it is.
    pub name: String,
    /// Its points, from left to right. Those with a coordinate that has no logarithm are left out.
    pub points: Vec<(f64, f64)>,
}

impl Chart {
    /// The plot as SVG; nothing if there is no point to show.
    ///
    /// # Errors
    /// If it cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        let shown = |(x, y): &(f64, f64)| *x > 0.0 && *y > 0.0 && x.is_finite() && y.is_finite();
        let all = || self.lines.iter().flat_map(|line| &line.points).copied().filter(shown);
        let (Some(x), Some(y)) = (span(all().map(|(x, _)| x)), span(all().map(|(_, y)| y))) else {
            return Ok(String::new());
        };
        let mut svg = String::new();
        self.draw(&mut svg, (x, y), shown)
            .map_err(|error| anyhow!("{}: {error}", self.title))?;
        Ok(svg)
    }

    fn draw(
        &self,
        svg: &mut String,
        ((left, right), (bottom, top)): ((f64, f64), (f64, f64)),
        shown: impl Fn(&(f64, f64)) -> bool,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d((left..right).log_scale(), (bottom..top).log_scale())?;
        let number = |value: &f64| match *value {
            value if value >= 1.0 => format!("{value:.0}"),
            value => format!("{value}"),
        };
        chart
            .configure_mesh()
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_label_formatter(&number)
            .y_label_formatter(&number)
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.into_iter().cycle()) {
            let points: Vec<(f64, f64)> = line.points.iter().copied().filter(&shown).collect();
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .position(SeriesLabelPosition::UpperLeft)
            .draw()?;
        root.present()?;
        Ok(())
    }
}

/// From below the least to above the most.
fn span(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let bounds = values.fold(None, |bounds: Option<(f64, f64)>, value| match bounds {
        None => Some((value, value)),
        Some((least, most)) => Some((least.min(value), most.max(value))),
    });
    bounds.map(|(least, most)| (least / 1.3, most * 1.3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        Chart {
            title: "cost".to_owned(),
            x: "calls".to_owned(),
            y: "ns".to_owned(),
            lines: vec![Line {
                name: "voxlane".to_owned(),
                points,
            }],
        }
    }

    #[test]
    fn lines_are_drawn_with_their_names() {
        let svg = chart(vec![(10.0, 900.0), (100.0, 700.0), (1000.0, 0.0)]).svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("polyline"), "{svg}");
        assert!(
            svg.contains("voxlane") && svg.contains("calls") && svg.contains("ns"),
            "{svg}"
        );
    }

    #[test]
    fn where_nothing_was_measured_nothing_is_drawn() {
        assert_eq!(chart(Vec::new()).svg().unwrap(), "");
        assert_eq!(chart(vec![(10.0, f64::NAN)]).svg().unwrap(), "");
    }
}
