//! The frame of a plot: title, legend, axes with their labels, and the drawing between them.
//!
//! The drawing stretches with the page; its labels are text of the page around it, and so keep their
//! size on a phone as well as on paper.

use std::fmt::{self, Write};

use super::axis::Axis;
use super::escape::escape;

/// Width and height of the drawing, in its own units.
pub(super) const EXTENT: f64 = 1000.0;

/// How a line looks; the style sheet knows them by [`Line::class`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// What the plot is about.
    Main,
    /// What it is compared with.
    Second,
    /// What is of less weight.
    Third,
}

impl Line {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Second => "second",
            Self::Third => "third",
        }
    }
}

/// A plot, but for what it draws.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    /// Unique in the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// What the vertical axis counts.
    pub(super) unit: &'a str,
    /// What is to be seen, for those who do not see it.
    pub(super) about: &'a str,
    pub(super) legend: &'a [(Line, &'a str)],
    pub(super) y: &'a Axis,
    /// Labels of the horizontal axis, each with its place from 0 to 1.
    pub(super) x: &'a [(f64, String)],
    /// What the horizontal axis counts; empty if its labels say it.
    pub(super) x_unit: &'a str,
}

impl Chart<'_> {
    /// Writes the plot. `shapes` are elements of the drawing, `overlay` elements of the page above it.
    pub(super) fn write(&self, out: &mut String, shapes: &str, overlay: &str) -> fmt::Result {
        let Self { id, title, unit, about, y, .. } = self;
        write!(out, "<figure class=\"plot\" id=\"{id}\">\n<figcaption><h3>{}</h3>", escape(title))?;
        let scale = if y.is_log { ", logarithmic" } else { "" };
        write!(out, "<span class=\"unit\">{}{scale}</span>", escape(unit))?;
        if self.legend.len() > 1 {
            out.push_str("<ul class=\"legend\">");
            for (line, name) in self.legend {
                let (class, name) = (line.class(), escape(name));
                write!(out, "<li><span class=\"key {class}\"></span>{name}</li>")?;
            }
            out.push_str("</ul>");
        }
        out.push_str("</figcaption>\n<div class=\"area\">");
        write!(
            out,
            "<svg viewBox=\"0 0 {EXTENT} {EXTENT}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-about\"><title id=\"{id}-title\">{}</title>\
             <desc id=\"{id}-about\">{}</desc>",
            escape(title),
            escape(about)
        )?;
        let lines: String = y
            .ticks
            .iter()
            .map(|&(value, _)| format!("M0 {:.1}H{EXTENT}", height(y, value)))
            .collect();
        write!(out, "<path class=\"grid\" d=\"{lines}\"/>{shapes}")?;
        write!(out, "<path class=\"base\" d=\"M0 {EXTENT}H{EXTENT}\"/></svg>")?;
        self.labels(out)?;
        writeln!(out, "{overlay}</div>")?;
        if !self.x_unit.is_empty() {
            writeln!(out, "<p class=\"x-unit\">{}</p>", escape(self.x_unit))?;
        }
        out.push_str("</figure>\n");
        Ok(())
    }

    /// The numbers beside the axes. A reader who hears the page has them in tables instead.
    fn labels(&self, out: &mut String) -> fmt::Result {
        out.push_str("<div aria-hidden=\"true\">");
        for (value, label) in &self.y.ticks {
            let (bottom, label) = (self.y.at(*value) * 100.0, escape(label));
            write!(out, "<span class=\"y\" style=\"bottom:{bottom:.2}%\">{label}</span>")?;
        }
        // A phone has room for every other one.
        for (index, (place, label)) in self.x.iter().enumerate() {
            let class = if self.x.len() > 4 && index % 2 == 1 { "x wide-only" } else { "x" };
            let (left, label) = (place * 100.0, escape(label));
            write!(out, "<span class=\"{class}\" style=\"left:{left:.2}%\">{label}</span>")?;
        }
        out.push_str("</div>");
        Ok(())
    }
}

/// Where a value lies in the drawing, counted from its top.
pub(super) fn height(y: &Axis, value: f64) -> f64 {
    EXTENT * (1.0 - y.at(value))
}
