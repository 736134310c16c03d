//! The parser's structs as its headers declare them (`parsenodes.h`, `primnodes.h`, `value.h`, `pg_list.h`), those that
//! most statements are made of. They are of the release `Cargo.toml` names; debug builds compare what is made of them
//! with the parser's own messages.

use std::{
    ffi::{CStr, c_char},
    marker::PhantomData,
    ptr::NonNull,
};

/// What a node is: all begin with it.
type Tag = u32;
/// An enumeration's value.
type Enum = i32;
/// A place in the text.
type Location = i32;

const LIST: Tag = 1;

/// A node in the parser's memory, of a kind its tag tells.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct NodeRef<'t>(NonNull<Tag>, PhantomData<&'t Tag>);

/// A list in the parser's memory, which need not be one of nodes.
#[repr(C)]
pub(super) struct List<'t> {
    tag: Tag,
    length: i32,
    length_max: i32,
    cells: NonNull<Option<NodeRef<'t>>>,
}

/// A text in the parser's memory.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Text<'t>(NonNull<c_char>, PhantomData<&'t CStr>);

impl<'t> List<'t> {
    /// Its nodes; none where it is a list of something else.
    pub(super) fn nodes(&self) -> Option<&'t [Option<NodeRef<'t>>]> {
        let length = usize::try_from(self.length).ok().filter(|_| self.tag == LIST)?;
        // SAFETY: a list of this tag has so many cells, each a pointer to a node or null.
        Some(unsafe { std::slice::from_raw_parts(self.cells.as_ptr(), length) })
    }
}

impl<'t> Text<'t> {
    /// Itself; none where it is not UTF-8.
    pub(super) fn read(self) -> Option<&'t str> {
        // SAFETY: texts of the tree end with a zero byte and stay as long as it.
        unsafe { CStr::from_ptr(self.0.as_ptr()) }.to_str().ok()
    }
}

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident by $method:ident: $($kind:ident($struct:ty) = $tag:literal,)*) => {
        $(#[$doc])*
        pub(super) enum $name<'t> {
            $($kind(&'t $struct),)*
        }

        impl<'t> NodeRef<'t> {
            /// What it is; none where it is nothing of these.
            pub(super) fn $method(self) -> Option<$name<'t>> {
                // SAFETY: every node begins with its tag.
                let tag = unsafe { *self.0.as_ref() };
                Some(match tag {
                    $(
                        // SAFETY: a node of this tag is this struct, and stays as long as the tree.
                        $tag => $name::$kind(unsafe { self.0.cast().as_ref() }),
                    )*
                    _ => return None,
                })
            }
        }
    };
}

// Tags are those of `nodetags.h`.
kinds! {
    /// A node of a kind that is known here.
    #[expect(dead_code, reason = "in a star there is nothing to read")]
    Known by known:
    List(List<'t>) = 1,
    RangeVar(RangeVar<'t>) = 3,
    BoolExpr(BoolExpr<'t>) = 21,
    SubLink(SubLink<'t>) = 22,
    CaseExpr(CaseExpr<'t>) = 32,
    CaseWhen(CaseWhen<'t>) = 33,
    RowExpr(RowExpr<'t>) = 36,
    CoalesceExpr(CoalesceExpr<'t>) = 38,
    SqlValueFunction(SqlValueFunction) = 40,
    NullTest(NullTest<'t>) = 52,
    SetToDefault(SetToDefault) = 57,
    JoinExpr(JoinExpr<'t>) = 64,
    ColumnRef(ColumnRef<'t>) = 69,
    ParamRef(ParamRef) = 70,
    AExpr(AExpr<'t>) = 71,
    AConst(AConst<'t>) = 72,
    TypeCast(TypeCast<'t>) = 73,
    FuncCall(FuncCall<'t>) = 76,
    AStar(Tag) = 77,
    AArrayExpr(AArrayExpr<'t>) = 80,
    ResTarget(ResTarget<'t>) = 81,
    SortBy(SortBy<'t>) = 83,
    RangeSubselect(RangeSubselect<'t>) = 85,
    LockingClause(LockingClause<'t>) = 94,
    CommonTableExpr(CommonTableExpr<'t>) = 115,
    InsertStmt(InsertStmt<'t>) = 137,
    DeleteStmt(DeleteStmt<'t>) = 138,
    UpdateStmt(UpdateStmt<'t>) = 139,
    SelectStmt(SelectStmt<'t>) = 141,
    TransactionStmt(TransactionStmt<'t>) = 225,
    Integer(Integer) = 465,
    String(OfText<'t>) = 468,
}

kinds! {
    /// What a constant may be.
    Constant by constant:
    Integer(Integer) = 465,
    Float(OfText<'t>) = 466,
    Boolean(Boolean) = 467,
    String(OfText<'t>) = 468,
    BitString(OfText<'t>) = 469,
}

kinds! {
    /// What a list of statements holds.
    Raw by raw:
    RawStmt(RawStmt<'t>) = 136,
}

macro_rules! layouts {
    ($($name:ident $(<$life:lifetime>)? { $($field:ident: $type:ty,)* })*) => {
        $(
            #[repr(C)]
            pub(super) struct $name $(<$life>)? {
                tag: Tag,
                $(pub(super) $field: $type,)*
            }
        )*
    };
}

type Node<'t> = Option<NodeRef<'t>>;
type Nodes<'t> = Option<&'t List<'t>>;
type Name<'t> = Option<Text<'t>>;

layouts! {
    RawStmt<'t> { stmt: Node<'t>, stmt_location: Location, stmt_len: Location, }
    SelectStmt<'t> {
        distinct_clause: Nodes<'t>,
        into_clause: Node<'t>,
        target_list: Nodes<'t>,
        from_clause: Nodes<'t>,
        where_clause: Node<'t>,
        group_clause: Nodes<'t>,
        group_distinct: bool,
        having_clause: Node<'t>,
        window_clause: Nodes<'t>,
        values_lists: Nodes<'t>,
        sort_clause: Nodes<'t>,
        limit_offset: Node<'t>,
        limit_count: Node<'t>,
        limit_option: Enum,
        locking_clause: Nodes<'t>,
        with_clause: Option<&'t WithClause<'t>>,
        op: Enum,
        all: bool,
        larg: Option<&'t SelectStmt<'t>>,
        rarg: Option<&'t SelectStmt<'t>>,
    }
    InsertStmt<'t> {
        relation: Option<&'t RangeVar<'t>>,
        cols: Nodes<'t>,
        select_stmt: Node<'t>,
        on_conflict_clause: Node<'t>,
        returning_clause: Option<&'t ReturningClause<'t>>,
        with_clause: Option<&'t WithClause<'t>>,
        overriding: Enum,
    }
    UpdateStmt<'t> {
        relation: Option<&'t RangeVar<'t>>,
        target_list: Nodes<'t>,
        where_clause: Node<'t>,
        from_clause: Nodes<'t>,
        returning_clause: Option<&'t ReturningClause<'t>>,
        with_clause: Option<&'t WithClause<'t>>,
    }
    DeleteStmt<'t> {
        relation: Option<&'t RangeVar<'t>>,
        using_clause: Nodes<'t>,
        where_clause: Node<'t>,
        returning_clause: Option<&'t ReturningClause<'t>>,
        with_clause: Option<&'t WithClause<'t>>,
    }
    ReturningClause<'t> { options: Nodes<'t>, exprs: Nodes<'t>, }
    WithClause<'t> { ctes: Nodes<'t>, recursive: bool, location: Location, }
    CommonTableExpr<'t> {
        ctename: Name<'t>,
        aliascolnames: Nodes<'t>,
        ctematerialized: Enum,
        ctequery: Node<'t>,
        search_clause: Node<'t>,
        cycle_clause: Node<'t>,
        location: Location,
        cterecursive: bool,
        cterefcount: i32,
        ctecolnames: Nodes<'t>,
        ctecoltypes: Nodes<'t>,
        ctecoltypmods: Nodes<'t>,
        ctecolcollations: Nodes<'t>,
    }
    LockingClause<'t> { locked_rels: Nodes<'t>, strength: Enum, wait_policy: Enum, }
    RangeVar<'t> {
        catalogname: Name<'t>,
        schemaname: Name<'t>,
        relname: Name<'t>,
        inh: bool,
        relpersistence: u8,
        alias: Option<&'t Alias<'t>>,
        location: Location,
    }
    Alias<'t> { aliasname: Name<'t>, colnames: Nodes<'t>, }
    RangeSubselect<'t> { lateral: bool, subquery: Node<'t>, alias: Option<&'t Alias<'t>>, }
    JoinExpr<'t> {
        jointype: Enum,
        is_natural: bool,
        larg: Node<'t>,
        rarg: Node<'t>,
        using_clause: Nodes<'t>,
        join_using_alias: Option<&'t Alias<'t>>,
        quals: Node<'t>,
        alias: Option<&'t Alias<'t>>,
        rtindex: i32,
    }
    ResTarget<'t> { name: Name<'t>, indirection: Nodes<'t>, val: Node<'t>, location: Location, }
    SortBy<'t> {
        node: Node<'t>,
        sortby_dir: Enum,
        sortby_nulls: Enum,
        use_op: Nodes<'t>,
        location: Location,
    }
    ColumnRef<'t> { fields: Nodes<'t>, location: Location, }
    ParamRef { number: i32, location: Location, }
    AExpr<'t> {
        kind: Enum,
        name: Nodes<'t>,
        lexpr: Node<'t>,
        rexpr: Node<'t>,
        rexpr_list_start: Location,
        rexpr_list_end: Location,
        location: Location,
    }
    BoolExpr<'t> { boolop: Enum, args: Nodes<'t>, location: Location, }
    NullTest<'t> { arg: Node<'t>, nulltesttype: Enum, argisrow: bool, location: Location, }
    SubLink<'t> {
        sub_link_type: Enum,
        sub_link_id: i32,
        testexpr: Node<'t>,
        oper_name: Nodes<'t>,
        subselect: Node<'t>,
        location: Location,
    }
    CaseExpr<'t> {
        casetype: u32,
        casecollid: u32,
        arg: Node<'t>,
        args: Nodes<'t>,
        defresult: Node<'t>,
        location: Location,
    }
    CaseWhen<'t> { expr: Node<'t>, result: Node<'t>, location: Location, }
    CoalesceExpr<'t> { coalescetype: u32, coalescecollid: u32, args: Nodes<'t>, location: Location, }
    RowExpr<'t> { args: Nodes<'t>, row_typeid: u32, row_format: Enum, colnames: Nodes<'t>, location: Location, }
    AArrayExpr<'t> { elements: Nodes<'t>, list_start: Location, list_end: Location, location: Location, }
    SetToDefault { type_id: u32, type_mod: i32, collation: u32, location: Location, }
    SqlValueFunction { op: Enum, type_oid: u32, typmod: i32, location: Location, }
    FuncCall<'t> {
        funcname: Nodes<'t>,
        args: Nodes<'t>,
        agg_order: Nodes<'t>,
        agg_filter: Node<'t>,
        over: Node<'t>,
        agg_within_group: bool,
        agg_star: bool,
        agg_distinct: bool,
        func_variadic: bool,
        funcformat: Enum,
        location: Location,
    }
    TypeCast<'t> { arg: Node<'t>, type_name: Option<&'t TypeName<'t>>, location: Location, }
    TypeName<'t> {
        names: Nodes<'t>,
        type_oid: u32,
        setof: bool,
        pct_type: bool,
        typmods: Nodes<'t>,
        typemod: i32,
        array_bounds: Nodes<'t>,
        location: Location,
    }
    TransactionStmt<'t> {
        kind: Enum,
        options: Nodes<'t>,
        savepoint_name: Name<'t>,
        gid: Name<'t>,
        chain: bool,
        location: Location,
    }
    Integer { value: i32, }
    Boolean { value: bool, }
    OfText<'t> { text: Name<'t>, }
    AConst<'t> { val: Value<'t>, is_null: bool, location: Location, }
}

/// `union ValUnion`: a node in place, as large as the largest of its kinds.
#[repr(C)]
pub(super) struct Value<'t> {
    head: [u32; 2],
    text: Name<'t>,
}

impl<'t> Value<'t> {
    /// The node; there is none where the constant is NULL.
    pub(super) fn node(&'t self) -> NodeRef<'t> {
        NodeRef(NonNull::from(self).cast(), PhantomData)
    }
}
