//! Where bytes of a component lie, and the memory that its modules begin with. A string may be spread over data
//! segments that only meet in memory; the image is where it is whole.

use std::ops::Range;

use wasmparser::{DataKind, Operator, Parser, Payload};

/// Sections by their place, in ascending order.
#[derive(Default)]
pub(super) struct Places {
    sections: Vec<(Range<usize>, String)>,
    /// The data segments of each module, in the order in which they are written.
    modules: Vec<Vec<Segment>>,
}

struct Segment {
    /// Of its bytes, in the component.
    range: Range<usize>,
    /// Memory and address; none for a passive one, or one whose address is computed.
    target: Option<(u32, u64)>,
}

/// Memory as it is when a module starts, without the gaps.
pub(super) struct Image {
    pub(super) bytes: Vec<u8>,
    /// For pieces of the image, in ascending order: where it begins here, and where in the component.
    pieces: Vec<(usize, usize)>,
}

impl Image {
    /// Where a byte comes from.
    pub(super) fn origin(&self, at: usize) -> (String, usize) {
        let piece = self
            .pieces
            .partition_point(|(start, _)| *start <= at)
            .saturating_sub(1);
        let origin = self
            .pieces
            .get(piece)
            .map_or(0, |(start, from)| from + (at - start));
        ("data segments".to_owned(), origin)
    }
}

impl Places {
    /// Reads as far as the component can be read.
    pub(super) fn of(wasm: &[u8]) -> Self {
        let mut places = Self::default();
        for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
            match &payload {
                Payload::Version { .. } => places.modules.push(Vec::new()),
                Payload::CustomSection(section) => {
                    let name: String = section
                        .name()
                        .chars()
                        .filter(|c| !c.is_control())
                        .take(60)
                        .collect();
                    places
                        .sections
                        .push((to_usize(&section.range()), format!("custom section {name:?}")));
                }
                Payload::DataSection(section) => {
                    places
                        .sections
                        .push((to_usize(&section.range()), "data segments".to_owned()));
                    let segments = section
                        .clone()
                        .into_iter()
                        .map_while(Result::ok)
                        .map(|data| segment(wasm, &data));
                    // Modules inside modules there are none: a data section belongs to the one begun last.
                    if let Some(module) = places.modules.last_mut() {
                        module.extend(segments);
                    }
                }
                Payload::CodeSectionStart { range, .. } => {
                    places.sections.push((to_usize(range), "code".to_owned()));
                }
                _ => {}
            }
        }
        places.sections.sort_by_key(|(range, _)| range.start);
        places
    }

    /// The section a byte is in.
    pub(super) fn name(&self, at: usize) -> String {
        let before = self.sections.partition_point(|(range, _)| range.start <= at);
        let section = before.checked_sub(1).and_then(|index| self.sections.get(index));
        let section = section.filter(|(range, _)| range.contains(&at));
        section.map_or_else(|| "the component".to_owned(), |(_, name)| name.clone())
    }

    /// The images of modules with more than one segment: those of one are in the component as they are.
    pub(super) fn images(&self, wasm: &[u8]) -> Vec<Image> {
        let modules = self.modules.iter().filter(|segments| segments.len() > 1);
        modules
            .flat_map(|segments| [in_memory(wasm, segments), passive(wasm, segments)])
            .collect()
    }
}

fn to_usize<T: Copy + TryInto<usize>>(range: &Range<T>) -> Range<usize> {
    let end = |at: T| at.try_into().unwrap_or(usize::MAX);
    end(range.start)..end(range.end)
}

fn segment(wasm: &[u8], data: &wasmparser::Data<'_>) -> Segment {
    // The parser hands out slices of the component itself.
    let start = data.data.as_ptr().addr() - wasm.as_ptr().addr();
    let target = match &data.kind {
        DataKind::Passive => None,
        DataKind::Active {
            memory_index,
            offset_expr,
        } => match offset_expr.get_operators_reader().read() {
            Ok(Operator::I32Const { value }) => Some((*memory_index, u64::from(value.cast_unsigned()))),
            Ok(Operator::I64Const { value }) => Some((*memory_index, value.cast_unsigned())),
            _ => None,
        },
    };
    Segment {
        range: start..start + data.data.len(),
        target,
    }
}

/// Segments at their addresses, later ones over earlier ones as at a start; gaps are left out, because nothing joins
/// over them. No larger than the segments together.
fn in_memory(wasm: &[u8], segments: &[Segment]) -> Image {
    let mut placed: Vec<(u32, u64, &Segment)> = segments
        .iter()
        .filter_map(|segment| segment.target.map(|(memory, address)| (memory, address, segment)))
        .collect();
    placed.sort_by_key(|(memory, address, _)| (*memory, *address));
    let mut image = Image {
        bytes: Vec::new(),
        pieces: Vec::new(),
    };
    let mut end = (u32::MAX, 0);
    for (memory, address, segment) in placed {
        let gap = end.0 != memory || end.1 < address;
        let bytes = &wasm[segment.range.clone()];
        let overlap = if gap {
            0
        } else {
            usize::try_from(end.1 - address).unwrap_or(usize::MAX)
        };
        if gap && !image.bytes.is_empty() {
            // Something that no rule matches across.
            image.bytes.push(0);
        }
        let Some(rest) = bytes.get(overlap..) else {
            continue;
        };
        image
            .pieces
            .push((image.bytes.len(), segment.range.start + overlap));
        image.bytes.extend(rest);
        end = (memory, address.saturating_add(bytes.len() as u64));
    }
    image
}

/// Segments without a fixed address, one after the other: where they meet is decided by code, most simply so.
fn passive(wasm: &[u8], segments: &[Segment]) -> Image {
    let mut image = Image {
        bytes: Vec::new(),
        pieces: Vec::new(),
    };
    for segment in segments.iter().filter(|segment| segment.target.is_none()) {
        image.pieces.push((image.bytes.len(), segment.range.start));
        image.bytes.extend(&wasm[segment.range.clone()]);
    }
    image
}
