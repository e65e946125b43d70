//! Sets of fields: a tree whose nodes may be members themselves.

use std::cmp::Ordering;
use std::fmt;

use super::element::PathElement;

/// A set of paths into an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    /// Sorted by element; none of them empty.
    nodes: Vec<(PathElement, Node)>,
}

/// What a set says about one place: whether it is a member, and what is in it below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) member: bool,
    pub(super) children: FieldSet,
}

impl Node {
    /// A member with nothing below.
    pub(super) fn leaf() -> Self {
        Self { member: true, children: FieldSet::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

impl FieldSet {
    /// The set of these paths of field names.
    pub(super) fn of(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<PathElement> = path.iter().map(|name| PathElement::field(name)).collect();
            set.insert(&path);
        }
        set
    }

    /// The set of these subtrees, in any order; those of the same element are joined.
    pub(super) fn collect(mut nodes: Vec<(PathElement, Node)>) -> Self {
        nodes.retain(|(_, node)| !node.is_empty());
        if !nodes.is_sorted_by(|a, b| a.0 < b.0) {
            nodes.sort_by(|a, b| a.0.cmp(&b.0));
            nodes.dedup_by(|later, first| {
                let same = later.0 == first.0;
                if same {
                    first.1.member |= later.1.member;
                    first.1.children = first.1.children.union(&later.1.children);
                }
                same
            });
        }
        Self { nodes }
    }

    /// Whether it has no member.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a path. The way there does not become a member.
    pub(super) fn insert(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else { return };
        let node = self.node_mut(first);
        match rest.is_empty() {
            true => node.member = true,
            false => node.children.insert(rest),
        }
    }

    /// The node of an element, made if absent. The caller fills it.
    fn node_mut(&mut self, element: &PathElement) -> &mut Node {
        let at = match self.find(element) {
            Ok(at) => at,
            Err(at) => {
                self.nodes.insert(at, (element.clone(), Node::default()));
                at
            }
        };
        &mut self.nodes[at].1
    }

    fn find(&self, element: &PathElement) -> Result<usize, usize> {
        self.nodes.binary_search_by(|(one, _)| one.cmp(element))
    }

    pub(super) fn get(&self, element: &PathElement) -> Option<&Node> {
        self.find(element).ok().map(|at| &self.nodes[at].1)
    }

    /// Whether the path is a member.
    pub(super) fn has(&self, path: &[PathElement]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        self.get(first).is_some_and(|node| match rest.is_empty() {
            true => node.member,
            false => node.children.has(rest),
        })
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &(PathElement, Node)> {
        self.nodes.iter()
    }

    /// Members of either.
    pub(super) fn union(&self, other: &Self) -> Self {
        self.combine(other, &|a, b| match (a, b) {
            (Some(a), Some(b)) => {
                Node { member: a.member || b.member, children: a.children.union(&b.children) }
            }
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => Node::default(),
        })
    }

    /// Members of both.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        self.combine(other, &|a, b| match (a, b) {
            (Some(a), Some(b)) => Node {
                member: a.member && b.member,
                children: a.children.intersection(&b.children),
            },
            _ => Node::default(),
        })
    }

    /// Members of this that are not in the other. A member above says nothing of what is below.
    pub(super) fn difference(&self, other: &Self) -> Self {
        self.combine(other, &|a, b| match (a, b) {
            (Some(a), Some(b)) => {
                Node { member: a.member && !b.member, children: a.children.difference(&b.children) }
            }
            (Some(a), None) => a.clone(),
            (None, _) => Node::default(),
        })
    }

    /// Members of this that are neither in the other nor below a member of it.
    pub(super) fn without_trees(&self, other: &Self) -> Self {
        self.combine(other, &|a, b| match (a, b) {
            (Some(_), Some(b)) if b.member => Node::default(),
            (Some(a), Some(b)) => {
                Node { member: a.member, children: a.children.without_trees(&b.children) }
            }
            (Some(a), None) => a.clone(),
            (None, _) => Node::default(),
        })
    }

    fn combine(&self, other: &Self, with: &dyn Fn(Option<&Node>, Option<&Node>) -> Node) -> Self {
        let mut nodes = Vec::with_capacity(self.nodes.len());
        let (mut left, mut right) = (self.nodes.iter().peekable(), other.nodes.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return Self { nodes },
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
            };
            let a = if order.is_le() { left.next() } else { None };
            let b = if order.is_ge() { right.next() } else { None };
            let node = with(a.map(|(_, node)| node), b.map(|(_, node)| node));
            if let Some((element, _)) = a.or(b).filter(|_| !node.is_empty()) {
                nodes.push((element.clone(), node));
            }
        }
    }

    /// Calls `visit` for every member, a place before what is below it.
    pub(super) fn each(&self, visit: &mut dyn FnMut(&[PathElement])) {
        self.each_below(&mut Vec::new(), visit);
    }

    fn each_below(&self, path: &mut Vec<PathElement>, visit: &mut dyn FnMut(&[PathElement])) {
        // Members of one level come first, as upstream lists them.
        for (element, _) in self.nodes.iter().filter(|(_, node)| node.member) {
            path.push(element.clone());
            visit(path);
            path.pop();
        }
        for (element, node) in self.nodes.iter().filter(|(_, node)| !node.children.is_empty()) {
            path.push(element.clone());
            node.children.each_below(path, visit);
            path.pop();
        }
    }
}

/// A path as messages show it: `.spec.replicas`.
pub(super) fn path_text(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}

/// One member a line.
impl fmt::Display for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        self.each(&mut |path| lines.push(path_text(path)));
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    /// `a a.b c`: paths of field names.
    fn set(text: &str) -> FieldSet {
        let paths: Vec<Vec<&str>> =
            text.split_whitespace().map(|path| path.split('.').collect()).collect();
        FieldSet::of(&paths.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    #[test_case("a b.c", "b.c d", "a b.c d", "b.c", "a", "a")]
    #[test_case("a a.b", "a", "a a.b", "a", "a.b", ""; "a parent and its child")]
    #[test_case("a.b", "a", "a a.b", "", "a.b", ""; "a child without its parent")]
    #[test_case("a", "a.b", "a a.b", "", "a", "a"; "a parent without its child")]
    #[test_case("", "x.y", "x.y", "", "", ""; "nothing")]
    #[test_case("s.a s.b.c s.b.d", "s.b", "s.a s.b s.b.c s.b.d", "", "s.a s.b.c s.b.d", "s.a"; "a tree")]
    fn algebra(a: &str, b: &str, union: &str, both: &str, difference: &str, trees: &str) {
        let (a, b) = (set(a), set(b));
        assert_eq!(a.union(&b), set(union));
        assert_eq!(b.union(&a), set(union));
        assert_eq!(a.intersection(&b), set(both));
        assert_eq!(a.difference(&b), set(difference));
        assert_eq!(a.without_trees(&b), set(trees));
    }

    #[test]
    fn has_only_members() {
        let set = set("a.b c");
        let path = |text: &str| text.split('.').map(PathElement::field).collect::<Vec<_>>();
        assert!(set.has(&path("a.b")) && set.has(&path("c")));
        assert!(!set.has(&path("a")) && !set.has(&path("a.b.c")) && !set.has(&[]));
        assert_eq!(set.to_string(), ".c\n.a.b");
    }
}
