//! Where serialized code comes from: lines of the Python source, which archives keep beside the code.

use std::sync::Arc;

use super::super::{
    input::Input,
    pickle,
    records::{Pickle, Record, RecordId, printable},
};
use crate::tensor::Storage;

/// The ranges of a record of code, by the byte at which each begins, with the lines they come from.
pub(super) struct Sources {
    ranges: Vec<(i64, Arc<str>)>,
}

/// The pieces of text that are looked through for all ranges of a record.
const WORK: usize = 1 << 22;

impl Sources {
    /// Reads a record of ranges; `None` where it is of a form that is not known.
    pub fn read(record: &Storage) -> Option<Self> {
        record.verify().ok()?;
        let (source, range) = record.location();
        let pickle = pickle::read(&mut Input::new(source, range), record.name()).ok()?;
        let &[format, texts, rows] = pickle.tuple(pickle.root())? else { return None };
        if pickle.str(format)? != "FORMAT_WITH_STRING_TABLE" {
            return None;
        }
        let texts = elements(&pickle, texts)?;
        let text = |id: RecordId| pickle.str(*texts.get(usize::try_from(int(&pickle, id)?).ok()?)?);
        let (mut ranges, mut work) = (Vec::new(), WORK);
        for &row in elements(&pickle, rows)? {
            let [byte, range, ..] = elements(&pickle, row)? else { continue };
            let Some([source, start, ..]) = elements(&pickle, *range) else { continue };
            let Some(&[parts, file, first]) = elements(&pickle, *source) else { continue };
            let (Some(file), Some(mut start), Some(mut line)) = (text(file), int(&pickle, *start), int(&pickle, first))
            else {
                continue;
            };
            if file.is_empty() {
                continue;
            }
            for &part in elements(&pickle, parts)? {
                work = work.checked_sub(1)?;
                let part = text(part)?;
                let length = part.len() as i64;
                if start < length {
                    break;
                }
                line = line.saturating_add(part.matches('\n').count() as i64);
                start -= length;
            }
            ranges.push((int(&pickle, *byte)?, format!("{} line {line}", printable(file)).into()));
        }
        ranges.sort_by_key(|range| range.0);
        Some(Self { ranges })
    }

    /// The file and the line that the code at a byte comes from.
    pub fn line(&self, byte: u32) -> Option<String> {
        let behind = self.ranges.partition_point(|range| range.0 <= i64::from(byte));
        behind.checked_sub(1).map(|at| self.ranges[at].1.to_string())
    }
}

fn elements(pickle: &Pickle, id: RecordId) -> Option<&[RecordId]> {
    match pickle.get(id) {
        Record::List(elements) => Some(elements),
        Record::Tuple(elements) => Some(elements),
        // A list of ints is a call that makes one of the list that it is given.
        Record::Object(object) => match pickle.get(*pickle.tuple(object.args)?.first()?) {
            Record::List(elements) => Some(elements),
            _ => None,
        },
        _ => None,
    }
}

fn int(pickle: &Pickle, id: RecordId) -> Option<i64> {
    match pickle.get(id) {
        Record::Int(value) => Some(*value),
        _ => None,
    }
}
