//! Definitions of functions as they were read. A database's code is read for every snapshot, every login and every
//! definition a client sends, and hardly any of it changes between.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError},
};

use pg_query::{
    NodeEnum,
    protobuf::{CreateFunctionStmt, Node},
};

use super::{
    names::text,
    parse,
    plpgsql::{self, Body},
};

/// Text of the definitions that are kept as they were read lately, and as much of those before; a tree takes some
/// thirty times its text. PostgreSQL's regression tests make functions of 200 KB in all.
const KEPT_BYTES_MAX: usize = 512 << 10;

/// A definition that was read. What cannot be read is tried again, for that may be for want of stack.
#[derive(Debug)]
pub(super) struct Code {
    /// The statement that makes the function.
    pub(super) created: CreateFunctionStmt,
    statements: OnceLock<Vec<Node>>,
    block: OnceLock<Body>,
}

impl Code {
    fn new(definition: &str) -> Option<Self> {
        let statements = parse::statements(definition).ok()?;
        let NodeEnum::CreateFunctionStmt(created) = statements.into_iter().next()?.stmt?.node? else {
            return None;
        };
        Some(Self { created: *created, statements: OnceLock::new(), block: OnceLock::new() })
    }

    /// Its body in SQL.
    pub(super) fn statements(&self) -> Option<&[Node]> {
        if let Some(body) = self.created.sql_body.as_deref() {
            return Some(std::slice::from_ref(body));
        }
        if self.statements.get().is_none() {
            let statements = parse::statements(body_text(&self.created)?).ok()?;
            let statements = statements.into_iter().filter_map(|raw| raw.stmt).map(|statement| *statement);
            // Whoever was faster has read the same.
            let _ = self.statements.set(statements.collect());
        }
        self.statements.get().map(Vec::as_slice)
    }

    /// Its body in PL/pgSQL.
    pub(super) fn block(&self) -> Option<&Body> {
        if self.block.get().is_none() {
            let _ = self.block.set(plpgsql::read(body_text(&self.created)?)?);
        }
        self.block.get()
    }
}

/// The text of a body.
fn body_text(created: &CreateFunctionStmt) -> Option<&str> {
    created.options.iter().find_map(|option| match option.node.as_ref()? {
        NodeEnum::DefElem(option) if option.defname == "as" => match option.arg.as_deref()?.node.as_ref()? {
            NodeEnum::List(list) => list.items.first().and_then(text),
            _ => None,
        },
        _ => None,
    })
}

/// By their text.
type Definitions = HashMap<Arc<str>, Arc<Code>>;

/// Those that were read or asked for since the last change of generations, and those before.
#[derive(Default)]
struct Kept {
    young: Definitions,
    young_bytes: usize,
    old: Definitions,
}

impl Kept {
    fn find(&mut self, definition: &str) -> Option<Arc<Code>> {
        if let Some(code) = self.young.get(definition) {
            return Some(code.clone());
        }
        let (text, code) = self.old.remove_entry(definition)?;
        self.keep(text, code.clone());
        Some(code)
    }

    fn keep(&mut self, definition: Arc<str>, code: Arc<Code>) {
        let bytes = definition.len();
        if self.young_bytes + bytes > KEPT_BYTES_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if bytes <= KEPT_BYTES_MAX && self.young.insert(definition, code).is_none() {
            self.young_bytes += bytes;
        }
    }
}

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

/// A function's definition as it was read.
pub(super) fn code(definition: &str) -> Option<Arc<Code>> {
    let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(code) = kept().find(definition) {
        return Some(code);
    }
    let code = Arc::new(Code::new(definition)?);
    kept().keep(definition.into(), code.clone());
    Some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str, bytes: usize) -> String {
        format!("create function {name}() returns int language sql as '{}select 1'", " ".repeat(bytes))
    }

    fn kept(kept: &mut Kept, definition: &str) {
        kept.keep(definition.into(), Arc::new(Code::new(definition).unwrap()));
    }

    #[test]
    fn what_is_kept_has_a_bound_and_what_is_asked_for_stays() {
        let mut all = Kept::default();
        let texts: Vec<String> =
            (0..6).map(|nth| definition(&format!("f{nth}"), KEPT_BYTES_MAX / 4)).collect();
        for text in &texts {
            kept(&mut all, text);
            assert!(all.find(&texts[0]).is_some());
        }
        assert!(all.young_bytes <= KEPT_BYTES_MAX);
        assert!(all.young.len() + all.old.len() <= 6);
        assert!(all.find(&texts[5]).is_some());
        assert!(all.find(&texts[1]).is_none());
        kept(&mut all, &definition("long", KEPT_BYTES_MAX));
        assert!(all.find(&definition("long", KEPT_BYTES_MAX)).is_none());
    }

    #[test]
    fn what_fits_is_kept_together() {
        let mut all = Kept::default();
        for name in ["f", "g", "h"] {
            kept(&mut all, &definition(name, 1_000));
        }
        assert_eq!((all.young.len(), all.old.len()), (3, 0));
    }

    #[test]
    fn a_definition_is_read_as_what_it_is() {
        let sql = code(&definition("f", 0)).unwrap();
        assert_eq!(sql.statements().map(<[Node]>::len), Some(1));
        assert!(sql.block().is_none());
        let block = code("create procedure p() language plpgsql as 'begin null; end'").unwrap();
        assert!(block.statements().is_none());
        assert!(block.block().is_some());
        let atomic = code("create function f() returns int begin atomic select 1; end").unwrap();
        assert_eq!(atomic.statements().map(<[Node]>::len), Some(1));
        assert!(code("select 1").is_none());
    }
}
