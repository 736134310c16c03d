//! What each output column, each written column and the predicates of a statement draw on, read from its tree.
//!
//! Value flow and influence are defined in docs/decisions/0005-oracle.md.

#[cfg(test)]
mod cases;
mod clauses;
mod expression;
mod range;

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use crate::{
    flow::{Column, Flow},
    tree::{Node, TreeError, Value},
    vocabulary::{Tree, Vocabulary, VocabularyError},
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    #[error("the tree is no list of queries")]
    NoQueries,
    #[error("{0} is not understood by the oracle; teach it in src/walk")]
    Unknown(String),
}

/// What the tree says of one statement.
#[derive(Debug, Default)]
pub(crate) struct Statement {
    /// In order; `None` where it returns no rows.
    pub(crate) outputs: Option<Vec<Flow>>,
    /// What decides which rows, in which order and how many.
    pub(crate) influence: Flow,
    /// What goes into each written column.
    pub(crate) writes: BTreeMap<Column, Flow>,
}

/// What the walk must know of the database beside the tree.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Functions whose result carries nothing of the value of their arguments, by oid.
    pub(crate) valueless: std::collections::HashSet<u32>,
    /// Types whose input or output function is user-defined.
    pub(crate) foreign_types: std::collections::HashSet<u32>,
}

/// The first oid that is not the server's own (`FirstNormalObjectId`).
pub(crate) const FIRST_USER_OID: u32 = 16384;

/// Reads the list of queries that the rewriter made of one statement.
pub(crate) fn statement(tree: &Tree, vocabulary: &Vocabulary, facts: &Facts) -> Result<Statement, WalkError> {
    let queries = match tree.root() {
        Value::List(queries) => &queries[..],
        // A rule may leave nothing to do.
        Value::Null => &[],
        Value::Atom(_) | Value::Datum | Value::Node(_) => return Err(WalkError::NoQueries),
    };
    let mut walk = Walk::new(vocabulary, facts);
    let mut outputs: Option<Vec<Flow>> = None;
    for query in queries {
        let query = query.node().filter(|node| node.kind == "QUERY").ok_or(WalkError::NoQueries)?;
        if query.node("utilityStmt")?.is_some() {
            continue;
        }
        let flows = walk.outputs(query, None)?;
        let returns =
            query.text("commandType")? == command::SELECT || !query.list("returningList")?.is_empty();
        if query.flag("canSetTag")? && returns {
            outputs = Some(outputs.map_or_else(|| flows.to_vec(), |before| by_position(&before, &flows)));
        }
    }
    let Walk { influence, writes, .. } = walk;
    Ok(Statement { outputs, influence, writes })
}

/// The values of `CmdType` that all majors share.
mod command {
    pub(super) const SELECT: &str = "1";
    pub(super) const UPDATE: &str = "2";
    pub(super) const INSERT: &str = "3";
    /// From 15 on; until then this number is a utility statement, which the walk does not enter.
    pub(super) const MERGE: &str = "5";
}

/// The state of reading one statement.
struct Walk<'t> {
    vocabulary: &'t Vocabulary,
    facts: &'t Facts,
    influence: Flow,
    writes: BTreeMap<Column, Flow>,
    /// The outputs of the queries read; a query stands at one place of the tree, so its address names it.
    known: HashMap<*const Node, Rc<Vec<Flow>>>,
    /// The queries being read, with what a reference to them is taken to mean: only recursive ones are referred to.
    open: HashMap<*const Node, Rc<Vec<Flow>>>,
}

/// A query in whose clauses we are, and what is around it.
#[derive(Clone, Copy)]
struct Scope<'s, 't> {
    query: &'t Node,
    outer: Option<&'s Scope<'s, 't>>,
    /// Whether this is its RETURNING list, where the target's columns are what was written.
    returning: bool,
}

impl<'s, 't> Scope<'s, 't> {
    /// The scope so many queries further out.
    fn up(&'s self, levels: usize) -> Result<&'s Scope<'s, 't>, WalkError> {
        let mut scope = self;
        for _ in 0..levels {
            scope = scope
                .outer
                .ok_or_else(|| WalkError::Unknown("a reference past the outermost query".into()))?;
        }
        Ok(scope)
    }

    /// An entry of its range table; the first is 1.
    fn entry(&self, number: usize) -> Result<&'t Node, WalkError> {
        let entry = number.checked_sub(1).and_then(|at| self.query.list("rtable").ok()?.get(at)?.node());
        entry.ok_or_else(|| WalkError::Unknown(format!("range table entry {number}")))
    }
}

impl<'t> Walk<'t> {
    fn new(vocabulary: &'t Vocabulary, facts: &'t Facts) -> Self {
        let (influence, writes) = (Flow::default(), BTreeMap::new());
        Self { vocabulary, facts, influence, writes, known: HashMap::new(), open: HashMap::new() }
    }

    /// What each output column of a query draws on. The first time, its clauses are read too.
    fn outputs(
        &mut self,
        query: &'t Node,
        outer: Option<&Scope<'_, 't>>,
    ) -> Result<Rc<Vec<Flow>>, WalkError> {
        let name = std::ptr::from_ref(query);
        if let Some(flows) = self.known.get(&name).or_else(|| self.open.get(&name)) {
            return Ok(Rc::clone(flows));
        }
        let scope = Scope { query, outer, returning: false };
        let width = query.list("targetList")?.len().max(query.list("returningList")?.len());
        let mut assumed = Rc::new(vec![Flow::default(); width]);
        // A recursive query draws on its own outputs: read it until nothing new comes. Each round adds a column to
        // a set or is the last.
        loop {
            self.open.insert(name, Rc::clone(&assumed));
            let flows = Rc::new(self.clauses(&scope)?);
            self.open.remove(&name);
            let settled = !has_recursion(outer, query)? || flows == assumed;
            if settled {
                self.known.insert(name, Rc::clone(&flows));
                return Ok(flows);
            }
            self.known.clear();
            assumed = flows;
        }
    }

    /// The same with one output's field instead of the whole output, where that is a row.
    fn output_field(
        &mut self,
        query: &'t Node,
        outer: Option<&Scope<'_, 't>>,
        number: usize,
        field: i16,
    ) -> Result<Flow, WalkError> {
        self.outputs(query, outer)?;
        let simple = query.node("setOperations")?.is_none() && query.text("commandType")? == command::SELECT;
        let entry = shown(query, "targetList")?.into_iter().nth(number.wrapping_sub(1));
        match entry {
            Some(entry) if simple => {
                let scope = Scope { query, outer, returning: false };
                self.field_of(&scope, entry.field("expr")?, field)
            }
            _ => self.output(query, outer, number),
        }
    }

    /// One output of a query; number 0 or less is all of them.
    fn output(
        &mut self,
        query: &'t Node,
        outer: Option<&Scope<'_, 't>>,
        number: usize,
    ) -> Result<Flow, WalkError> {
        let flows = self.outputs(query, outer)?;
        match number.checked_sub(1) {
            None => Ok(Flow::union(flows.iter())),
            Some(at) => flows.get(at).cloned().ok_or_else(|| WalkError::Unknown(format!("output {number}"))),
        }
    }
}

/// Whether a query is the body of one of the recursive WITH queries around it.
fn has_recursion(outer: Option<&Scope<'_, '_>>, query: &Node) -> Result<bool, WalkError> {
    let Some(outer) = outer else { return Ok(false) };
    for cte in outer.query.nodes("cteList")? {
        if std::ptr::eq(cte.required("ctequery")?, query) {
            return Ok(cte.flag("cterecursive")?);
        }
    }
    Ok(false)
}

/// The entries of a target list that a client or the outer query sees.
fn shown<'t>(query: &'t Node, list: &'static str) -> Result<Vec<&'t Node>, WalkError> {
    let mut entries = Vec::new();
    for entry in query.nodes(list)? {
        if !entry.flag("resjunk")? {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// Two rows' columns one by one, as a set operation puts them together.
fn by_position(one: &[Flow], other: &[Flow]) -> Vec<Flow> {
    let longest = one.len().max(other.len());
    (0..longest).map(|at| Flow::union(one.get(at).into_iter().chain(other.get(at)))).collect()
}
