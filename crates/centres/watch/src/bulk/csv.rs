//! CSV (RFC 4180, a header, UTF-8) as observations.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv::{ByteRecord, Reader, ReaderBuilder, Trim};
use model::observation::Sample;

use super::ColumnNames;
use super::row::{Rows, cut, time};
use super::source::{BATCH, Position, Step};

/// How many bytes may be read for one record: a quote that is never closed must not swallow the
/// file into memory.
const RECORD: u64 = 1 << 20;

/// A file of which only so much may be read before the next record is begun.
struct Rationed {
    file: File,
    left: Arc<AtomicU64>,
}

impl Read for Rationed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(std::io::Error::other("a record is longer than 1 MiB; is a quote left open?"));
        }
        self.left.store(left.saturating_sub(read as u64), Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for Rationed {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

/// Where the cells of a record are.
struct Places {
    thing: usize,
    datastream: usize,
    time: usize,
    value: usize,
    quality: Option<usize>,
    unit: Option<usize>,
}

impl Places {
    fn of(header: &ByteRecord, names: &ColumnNames) -> Result<Self, String> {
        let place = |name: &str| header.iter().position(|cell| cell == name.as_bytes());
        let known: Vec<_> = header.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect();
        let needed = |asked: &Option<String>, name: &str| {
            let name = asked.as_deref().unwrap_or(name);
            place(name).ok_or_else(|| {
                let known = known.join(", ");
                format!("the header names no column {name:?}; it names {}", cut_long(&known))
            })
        };
        let optional = |asked: &Option<String>, name: &str| match asked {
            Some(_) => needed(asked, name).map(Some),
            None => Ok(place(name)),
        };
        Ok(Self {
            thing: needed(&names.thing, "thing")?,
            datastream: needed(&names.datastream, "datastream")?,
            time: needed(&names.time, "time")?,
            value: needed(&names.value, "value")?,
            quality: optional(&names.quality, "quality")?,
            unit: optional(&names.unit, "unit")?,
        })
    }
}

fn cut_long(text: &str) -> &str {
    &text[..text.floor_char_boundary(400)]
}

/// Reads from `position` on and gives batches, until `give` takes no more.
pub(super) fn read(
    path: &Path,
    names: &ColumnNames,
    position: Option<Position>,
    rows: &mut Rows,
    give: &mut dyn FnMut(Step) -> bool,
) -> Result<(), String> {
    let mut file = File::open(path).map_err(|e| format!("the file does not open: {e}"))?;
    let behind = u64::from(ends_in_crlf(&mut file).map_err(|e| format!("the file does not read: {e}"))?);
    let left = Arc::new(AtomicU64::new(RECORD));
    let rationed = Rationed { file, left: left.clone() };
    let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(rationed);
    let unreadable = |e: csv::Error| format!("the file does not read: {e}");
    let mut header = reader.byte_headers().map_err(unreadable)?.clone();
    if let Some(first) = header.get(0).and_then(|cell| cell.strip_prefix(b"\xef\xbb\xbf")) {
        // A mark that spreadsheets put before the first name.
        let mut clean = ByteRecord::from(vec![first]);
        clean.extend(header.iter().skip(1));
        header = clean;
    }
    let places = Places::of(&header, names)?;
    if let Some(Position::Csv { byte, line, record }) = position {
        let mut to = csv::Position::new();
        to.set_byte(byte).set_line(line).set_record(record);
        reader.seek(to).map_err(unreadable)?;
    }
    let mut record = ByteRecord::new();
    loop {
        let mut step = Step::new(at(&reader));
        let mut read = 0;
        let mut more = true;
        while read < BATCH {
            left.store(RECORD, Ordering::Relaxed);
            if !reader.read_byte_record(&mut record).map_err(unreadable)? {
                more = false;
                break;
            }
            read += 1;
            match sample(&record, &places, names, rows) {
                Ok(sample) => step.columns.push(sample),
                Err(reason) => step.wrong(record.position().map_or(0, |at| at.line() + behind), reason),
            }
        }
        step.position = at(&reader);
        step.bytes_read = reader.position().byte();
        if (read > 0 && !give(step)) || !more {
            return Ok(());
        }
    }
}

/// Whether the header ends in CRLF. A record is then read up to the CR, so that the position of
/// the next one still lies in the line before.
fn ends_in_crlf(file: &mut File) -> std::io::Result<bool> {
    let mut start = Vec::new();
    file.by_ref().take(RECORD).read_to_end(&mut start)?;
    file.rewind()?;
    let end = start.iter().position(|b| *b == b'\n');
    Ok(end.is_some_and(|end| start[..end].ends_with(b"\r")))
}

fn at(reader: &Reader<Rationed>) -> Position {
    let at = reader.position();
    Position::Csv { byte: at.byte(), line: at.line(), record: at.record() }
}

fn sample(
    record: &ByteRecord,
    places: &Places,
    names: &ColumnNames,
    rows: &mut Rows,
) -> Result<Sample, String> {
    let cell = |at: usize| {
        let bytes = record
            .get(at)
            .ok_or_else(|| format!("has {} cells, and column {} is needed", record.len(), at + 1))?;
        std::str::from_utf8(bytes).map_err(|_| format!("column {} is not UTF-8", at + 1))
    };
    let optional = |at: Option<usize>| match at {
        Some(at) if at < record.len() => cell(at).map(Some),
        _ => Ok(None),
    };
    let value = cell(places.value)?;
    let value: f64 = value.parse().map_err(|_| format!("value {:?} is not a number", cut(value)))?;
    let quality = match optional(places.quality)? {
        None | Some("") => 0,
        Some(text) => text.parse().map_err(|_| format!("quality {:?} is not 0 to 255", cut(text)))?,
    };
    let time = time(cell(places.time)?, names.time_unit)?;
    rows.sample(cell(places.thing)?, cell(places.datastream)?, optional(places.unit)?, time, value, quality)
}
