//! The live view: the connection, a sparkline of surprise, the last lines.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, SparklineBar, Table};

use super::connection::{Event, QUEUE, died};
use super::seen::{self, Seen};
use crate::error::CliError;
use crate::output::say;
use crate::paint::bits;

/// How long the loops wait for something to happen.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// Shows what comes until `q` is pressed, `stop`, the source fails, or `lines` records have come.
///
/// # Errors
/// Those of the terminal, and that of a source that failed for good.
pub(super) fn run(events: &Receiver<Event>, name: &str, lines: Option<u64>, stop: &AtomicBool) -> Result<(), CliError> {
    let mut terminal = ratatui::try_init().map_err(|e| CliError::io("terminal", e))?;
    let (mut seen, begun) = (Seen::new(name), Instant::now());
    let outcome = show(&mut terminal, events, &mut seen, lines, stop);
    ratatui::restore();
    if outcome.is_ok() {
        say(seen.end(begun, SystemTime::now()).1);
    }
    outcome
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    events: &Receiver<Event>,
    seen: &mut Seen,
    lines: Option<u64>,
    stop: &AtomicBool,
) -> Result<(), CliError> {
    let failed = |e| CliError::io("terminal", e);
    while !stop.load(Ordering::SeqCst) {
        let taken = drain(events, seen)?;
        if !seen.finished && seen.enough(lines) {
            return Ok(());
        }
        terminal.draw(|frame| draw(frame, seen)).map_err(failed)?;
        let wait = if taken < QUEUE { TICK } else { Duration::ZERO };
        if event::poll(wait).map_err(failed)?
            && let Input::Key(key) = event::read().map_err(failed)?
            && key.kind == KeyEventKind::Press
        {
            let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Takes the events that wait, as many as can: a device that floods the line does not keep a key from being seen. After
/// the end of the input the last view stays until a key is pressed. Returns how many there were.
///
/// # Errors
/// That of a source that failed for good, or of one that nobody follows any more.
fn drain(events: &Receiver<Event>, seen: &mut Seen) -> Result<usize, CliError> {
    for taken in 0..QUEUE {
        match events.try_recv() {
            Ok(Event::Failed(error)) => return Err(CliError::io(&seen.port, error)),
            Ok(event) => seen.take(&event),
            Err(TryRecvError::Disconnected) if !seen.finished => return Err(died(&seen.port)),
            Err(_) => return Ok(taken),
        }
    }
    Ok(QUEUE)
}

fn draw(frame: &mut Frame<'_>, seen: &Seen) {
    let areas =
        Layout::vertical([Constraint::Length(3), Constraint::Length(8), Constraint::Min(3)]).split(frame.area());
    let [head, spark, table] = areas[..] else { return };
    frame.render_widget(Paragraph::new(summary(seen)), head);

    let width = usize::from(spark.width.saturating_sub(2));
    let shown = seen.records.iter().skip(seen.records.len().saturating_sub(width));
    let bars: Vec<SparklineBar> = shown
        .map(|r| {
            // Hundredths of a bit: a bar's height is an integer.
            let height = (u64::from(r.bits) * 100) >> 16;
            SparklineBar::from(height).style(Style::new().fg(if r.flagged { Color::Red } else { Color::Cyan }))
        })
        .collect();
    let most = seen.records.iter().map(|r| r.bits).max().unwrap_or(0);
    let title = format!(" bits per byte of each line, at most {:.2} ", bits(most));
    frame.render_widget(Sparkline::default().data(bars).block(Block::bordered().title(title)), spark);

    let rows = seen.records.iter().rev().take(usize::from(table.height)).map(|r| {
        let style = if r.flagged { Style::new().fg(Color::Red).add_modifier(Modifier::BOLD) } else { Style::new() };
        Row::new([
            r.sequence.to_string(),
            r.start.to_string(),
            r.bytes.to_string(),
            format!("{:.3}", bits(r.bits)),
            r.net.map_or_else(String::new, |net| format!("{:.3}", bits(net))),
            format!("{:.2}", bits(r.peak)),
            if r.flagged { "! surprising" } else { "" }.to_owned(),
        ])
        .style(style)
    });
    let widths = [10, 12, 7, 8, 8, 8, 14].map(Constraint::Length);
    let header =
        Row::new(["line", "position", "bytes", "bits", "net", "peak", ""]).style(Style::new().fg(Color::DarkGray));
    frame
        .render_widget(Table::new(rows, widths).header(header).block(Block::bordered().title(" newest first ")), table);
}

/// Three lines: the connection, the counts, the device.
fn summary(seen: &Seen) -> Vec<Line<'static>> {
    let color = if seen.open { Color::Green } else { Color::Red };
    let model = seen.start.map_or_else(|| "model not announced".to_owned(), |s| seen::model(&s));
    let adapter = seen.adapter.as_ref().map_or_else(String::new, |name| format!(", adapter {name}"));
    let end = if seen.finished { "all scored; " } else { "" };
    let (lost, overruns) = seen.records.back().map_or((0, 0), |r| (r.lost, r.overruns));
    let troubles = lost > 0 || overruns > 0 || seen.missed > 0 || seen.damaged != (0, 0);
    let device = seen.status.map_or_else(String::new, |s| {
        format!(
            "stack {} of {} bytes, at most {} of {} bytes waited",
            s.stack_used, s.stack_watched, s.waiting, s.capacity
        )
    });
    vec![
        Line::from(vec![
            Span::styled(format!("{}: {}", seen.port, seen.connection), Style::new().fg(color)),
            Span::raw(format!("  {model}{adapter}  {end}q quits")),
        ]),
        Line::styled(
            format!(
                "{} lines, {} surprising; lost: {lost} bytes, {overruns} overruns, {} records; {} damaged frames",
                seen.lines,
                seen.flagged,
                seen.missed,
                seen.damaged.0 + seen.damaged.1
            ),
            Style::new().fg(if troubles { Color::Yellow } else { Color::Reset }),
        ),
        Line::raw(match &seen.said {
            Some(said) => format!("{said}  {device}"),
            None => device,
        }),
    ]
}

#[cfg(test)]
mod tests {
    use mambabyte_core::record::{Record, Status};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn the_end_of_the_thread_is_an_error_unless_all_is_scored() {
        let (send, events) = std::sync::mpsc::sync_channel(QUEUE);
        let mut seen = Seen::new("p");
        send.send(Event::Connected).unwrap();
        assert_eq!(drain(&events, &mut seen).unwrap(), 1);
        drop(send);
        let died = drain(&events, &mut seen).unwrap_err().to_string();
        assert!(died.contains('p'), "{died}");
        seen.take(&Event::Finished);
        assert_eq!(drain(&events, &mut seen).unwrap(), 0);
    }

    #[test]
    fn the_view_shows_connection_lines_and_losses() {
        let mut seen = Seen::new("/dev/ttyX");
        seen.take(&Event::Connected);
        seen.take(&Event::Adapter(2));
        for i in 0..200u32 {
            let (start, bytes, bits) = (u64::from(i) * 70, 70, if i == 190 { 6 << 16 } else { 1 << 16 });
            let net = Some(bits + (1 << 16));
            let record =
                Record { sequence: i, start, bytes, bits, peak: bits, flagged: i == 190, net, ..Record::default() };
            seen.take(&Event::Line(Record { lost: 3, ..record }));
        }
        seen.take(&Event::Status(Status { stack_used: 1848, stack_watched: 8192, waiting: 9, capacity: 511 }));
        let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
        terminal.draw(|frame| draw(frame, &seen)).unwrap();
        let screen = |terminal: &Terminal<TestBackend>| {
            let cells = terminal.backend().buffer().content();
            cells.chunks(100).map(|row| row.iter().map(|c| c.symbol()).collect::<String>() + "\n").collect::<String>()
        };
        let text = screen(&terminal);
        let parts = [
            "/dev/ttyX: connected",
            ", adapter 8K",
            "200 lines, 1 surprising; lost: 3 bytes",
            "stack 1848 of 8192",
            "at most 6.00",
            "13300",
            "6.000    7.000    6.00     ! surprising",
        ];
        for part in parts {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let full = |row: &str| row.chars().filter(|&c| c == '█').count();
        assert!(text.lines().any(|row| full(row) == 1), "one line stands out\n{text}");

        seen.take(&Event::Disconnected(std::io::Error::other("unplugged")));
        for (width, height) in [(100, 30), (20, 5), (1, 1)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &seen)).unwrap();
            if width == 100 {
                assert!(screen(&terminal).contains("/dev/ttyX: unplugged; trying again"));
            }
        }
    }
}
