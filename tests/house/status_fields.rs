//! Tests that each field of the JSON at `/status` has a row in docs/reference.md, and that each
//! field with a row exists.

use std::collections::BTreeMap;

use crate::{
    assert_none,
    markdown::code_spans,
    source::{matching, sources},
    tables::{rows, section},
    tree::read,
};

/// The objects in `/status` that have a table of their own, with the heading of the table. Any
/// other object is described in the row of the field that contains it.
const TABLES: &[(&str, &str)] = &[
    ("RouterStatus", "## Status"),
    ("ListenerStatus", "### A listener"),
    ("SenderStatus", "### A sender"),
    ("SinkStatus", "### A sink"),
    ("EndpointStatus", "### An endpoint"),
    ("CertificateStatus", "### A certificate"),
];

/// The structs that are written as JSON, by their name.
type Structs = BTreeMap<String, Vec<Field>>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    ty: String,
    is_flattened: bool,
}

#[test]
fn every_field_of_the_status_is_documented_and_exists() {
    let structs: Structs = sources()
        .iter()
        .flat_map(|source| serialized(&source.text_without_tests()))
        .collect();
    let text = read("docs/reference.md");
    let mut problems = Vec::new();
    for (object, heading) in TABLES {
        let mut fields = fields_of(&structs, object);
        let below = section(&text, heading);
        let below = below.split("\n#").next().unwrap_or_default();
        let rows = rows(below);
        for row in &rows {
            for name in code_spans(&row[0]) {
                let place = fields.iter().position(|field| field.name == name);
                let Some(place) = place else {
                    problems.push(format!(
                        "{heading}: {object} has no `{name}`: remove it from its row"
                    ));
                    continue;
                };
                let field = fields.remove(place);
                let wrong = wrong_parts(&structs, &field, &row[1]);
                problems.extend(wrong.map(|wrong| format!("{heading}: {wrong}")));
            }
        }
        let without = fields.iter().map(|field| &field.name);
        problems.extend(without.map(|name| format!("{heading}: `{name}` has no row: add it")));
    }
    assert_none(&problems, "Change the tables of docs/reference.md as said.");
}

/// Compares the fields of the object in `field` with the fields that the row of `field` names, and
/// returns the differences.
fn wrong_parts(structs: &Structs, field: &Field, content: &str) -> impl Iterator<Item = String> {
    let name = &field.name;
    let is_reference = content.starts_with("as for ");
    let parts = parts(structs, &field.ty);
    let named: Vec<&str> = code_spans(content).collect();
    let missing = parts
        .iter()
        .filter(|part| !is_reference && !named.contains(&part.as_str()))
        .map(|part| format!("the row of `{name}` does not name its `{part}`: add it"));
    let wrong = named
        .iter()
        .filter(|word| !parts.is_empty() && !is_value(word))
        .filter(|word| !parts.iter().any(|part| part == **word))
        .map(|word| format!("`{name}` has no `{word}`: remove it from the row"));
    missing.chain(wrong).collect::<Vec<_>>().into_iter()
}

/// Returns whether a code span is a value. A row may name values in addition to fields.
fn is_value(span: &str) -> bool {
    matches!(span, "null" | "queue_full" | "memory" | "listener" | "sink")
}

/// Returns the fields of an object of this type and of the objects in it. Returns no fields if the
/// object has a table of its own.
fn parts(structs: &Structs, ty: &str) -> Vec<String> {
    let name = ty
        .rsplit(['<', ':', ' '])
        .next()
        .unwrap_or_default()
        .trim_end_matches('>');
    if TABLES.iter().any(|(object, _)| *object == name) || !structs.contains_key(name) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for field in fields_of(structs, name) {
        found.extend(parts(structs, &field.ty));
        found.push(field.name);
    }
    found
}

/// Returns the fields that a struct has in JSON, including the fields of flattened structs.
fn fields_of(structs: &Structs, name: &str) -> Vec<Field> {
    let Some(fields) = structs.get(name) else {
        panic!(
            "no serialized struct is called {name}: correct TABLES in tests/house/status_fields.rs"
        );
    };
    let mut found = Vec::new();
    for field in fields {
        if field.is_flattened {
            found.extend(fields_of(structs, &field.ty));
        } else {
            found.push(field.clone());
        }
    }
    found
}

/// Returns the structs in a source file that derive `Serialize`, with their fields.
fn serialized(text: &str) -> Vec<(String, Vec<Field>)> {
    let mut structs = Vec::new();
    for derive in text.split("#[derive(").skip(1) {
        let (derived, item) = derive.split_once(")]").expect("the end of an attribute");
        let item = item.trim_start();
        let item = item
            .strip_prefix("#[non_exhaustive]")
            .map_or(item, str::trim_start);
        let is_struct = item.starts_with("pub struct ");
        let Some((head, rest)) = item.split_once('{').filter(|_| is_struct) else {
            continue;
        };
        if !derived.contains("Serialize") || head.contains(';') {
            continue;
        }
        let name = head.trim().trim_start_matches("pub struct ").to_owned();
        structs.push((name, fields(&rest[..matching(rest, '{', '}')])));
    }
    structs
}

fn fields(body: &str) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut attributes = String::new();
    for line in body.lines().map(str::trim) {
        if line.starts_with("#[") {
            attributes.push_str(line);
            continue;
        }
        let Some((name, ty)) = line.split_once(": ") else {
            continue;
        };
        let name = name.rsplit(' ').next().unwrap_or_default();
        assert!(
            !attributes.contains("rename"),
            "{name}: this test does not know `rename`; teach it"
        );
        if !attributes.contains("serde(skip") {
            fields.push(Field {
                name: name.to_owned(),
                ty: ty.trim_end_matches(',').to_owned(),
                is_flattened: attributes.contains("flatten"),
            });
        }
        attributes.clear();
    }
    fields
}

#[test]
fn fields_are_read_with_their_attributes() {
    let text = "
#[derive(Debug, Serialize)]
pub struct Outer {
    pub one: Option<Inner>,
    #[serde(skip)]
    pub(in crate::a) two: u8,
    #[serde(flatten)]
    pub three: Inner,
}
#[derive(Serialize)]
pub struct Inner {
    pub inner: u8,
}
#[derive(Debug)]
pub struct Other {
    pub other: u8,
}
";
    let structs: Structs = serialized(text).into_iter().collect();
    assert_eq!(structs.len(), 2);
    let fields = fields_of(&structs, "Outer");
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["one", "inner"]);
    assert_eq!(parts(&structs, &fields[0].ty), ["inner"]);
}
