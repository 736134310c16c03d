//! A connection that reads catalogs, and the statements it has prepared.
//!
//! The server plans what is prepared once: for a reading of what has changed, planning is most of the work. A connection
//! that is used once prepares nothing, which saves a round trip.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};
use tokio_postgres::{
    Client, Row, SimpleQueryMessage, Statement,
    types::{ToSql, Type},
};

/// A parameter of a question, and its type.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The connection. What it has prepared goes with it.
pub(crate) struct Reader {
    client: Client,
    /// Whether it will be asked again.
    prepares: bool,
    /// By text, of which there are a few dozen.
    statements: Mutex<HashMap<String, Statement>>,
}

impl Reader {
    pub(super) fn new(client: Client) -> Self {
        Self { client, prepares: false, statements: Mutex::default() }
    }

    /// Says that it will be asked again.
    pub(super) fn prepare_from_now_on(&mut self) {
        self.prepares = true;
    }

    /// Asks what is asked again and again.
    pub(super) async fn ask(&self, text: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
        const FAILED: &str = "cannot read what has changed in the catalog";
        if !self.prepares {
            return self.client.query_typed(text, parameters).await.context(FAILED);
        }
        let statement = self.statement(text, parameters).await.context(FAILED)?;
        let values: Vec<_> = parameters.iter().map(|(value, _)| *value).collect();
        self.client.query(&statement, &values).await.context(FAILED)
    }

    async fn statement(
        &self,
        text: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Statement, tokio_postgres::Error> {
        let prepared = || self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = prepared().get(text) {
            return Ok(known.clone());
        }
        let types: Vec<_> = parameters.iter().map(|(_, kind)| kind.clone()).collect();
        let statement = self.client.prepare_typed(text, &types).await?;
        prepared().insert(text.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Asks what is asked once.
    pub(super) async fn ask_once(&self, text: &str) -> Result<Vec<Row>> {
        self.client.query_typed(text, &[]).await.context("cannot read the catalog")
    }

    /// Runs statements as a script does.
    pub(super) async fn run(&self, script: &str) -> Result<Vec<SimpleQueryMessage>> {
        Ok(self.client.simple_query(script).await?)
    }

    /// Whether the server has closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}
