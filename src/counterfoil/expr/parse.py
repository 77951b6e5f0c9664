"""Parser from text to tree: a tokenizer and an operator-precedence parser for CEL syntax.

Length, nesting, number of terms and height of the tree are limited. Text beyond a limit is rejected with its position, so no
text can exhaust the stack or the memory.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import NamedTuple, NoReturn

import msgspec

from counterfoil.core.money import INT64_MAX
from counterfoil.expr import tree as t
from counterfoil.expr.errors import ExpressionError, finding

MAX_TEXT_CHARACTERS = 20_000
MAX_TERMS = 2_000
MAX_NESTING_DEPTH = 64
MAX_TREE_DEPTH = 128
MAX_DIGITS = 60

_SKIP = re.compile(r"(?:[ \t\r\n\f]+|//[^\n]*)+")
_TOKEN = re.compile(
    r"""
    (?P<string>(?:[rR][bB]?|[bB][rR]?)?
        (?:\"\"\"(?s:[^\\]|\\.)*?\"\"\"|'''(?s:[^\\]|\\.)*?'''
        |"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*'))
  | (?P<hex>0[xX][0-9a-fA-F]+[uU]?)
  | (?P<decimal>(?:[0-9]+\.[0-9]+|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
  | (?P<int>[0-9]+[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<op>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE,
)
_RAW_STRING = re.compile(
    r"""(?:[rR][bB]?|[bB][rR])(?:\"\"\"(?s:.)*?\"\"\"|'''(?s:.)*?'''|"[^"\r\n]*"|'[^'\r\n]*')"""
)
_ESCAPE = re.compile(
    r"""\\(?:([abfnrtv\\?"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(?s:(.?)))"""
)
_SIMPLE_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_RESERVED = {
    "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package",
    "namespace", "return", "var", "void", "while",
}  # fmt: skip
_CONSTANTS: dict[str, object] = {"true": True, "false": False, "null": None}
_BINDING = {
    "||": 1, "&&": 2,
    "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5,
}  # fmt: skip
_MACROS = {"all": (2,), "exists": (2,), "exists_one": (2,), "filter": (2,), "map": (2, 3)}
MACROS = frozenset(_MACROS)


class Lexeme(NamedTuple):
    """Token of an expression. `kind` is string, hex, decimal, int, name, op or end."""

    kind: str
    text: str
    start: int
    end: int


def refuse(text: str, rule: str, message: str, start: int, end: int) -> NoReturn:
    """Raise an ExpressionError with one finding."""
    raise ExpressionError(text, [finding(rule, message, text, start, end)])


def tokenize(text: str) -> list[Lexeme]:
    """Return all tokens with their spans, an `end` token last. Rejects overlong text and unexpected characters."""
    if len(text) > MAX_TEXT_CHARACTERS:
        prefix = text[: MAX_TEXT_CHARACTERS + 1]
        message = f"an expression is limited to {MAX_TEXT_CHARACTERS:,} characters"
        refuse(prefix, "limit", message, MAX_TEXT_CHARACTERS, MAX_TEXT_CHARACTERS + 1)
    tokens: list[Lexeme] = []
    at = 0
    while True:
        skipped = _SKIP.match(text, at)
        at = skipped.end() if skipped else at
        if at == len(text):
            tokens.append(Lexeme("end", "", at, at))
            return tokens
        match = _RAW_STRING.match(text, at) or _TOKEN.match(text, at)
        if match is None:
            _unexpected(text, at)
        kind = match.lastgroup or "string"
        if kind in ("int", "decimal", "hex") and text[match.end() : match.end() + 1].isidentifier():
            refuse(text, "syntax", "a name follows a number without a space", at, match.end() + 1)
        tokens.append(Lexeme(kind, match.group(), at, match.end()))
        at = match.end()


def _unexpected(text: str, at: int) -> NoReturn:
    character = text[at]
    if character in "'\"":
        refuse(text, "syntax", "this string is not closed", at, len(text))
    hints = {
        "=": "use == to compare",
        "&": "use && for and",
        "|": "use || for or",
        "#": "comments start with //",
        ";": "an expression has no statements",
    }
    hint = hints.get(character)
    if character.isalpha():
        hint = "write a name with other letters than a to z in brackets: body['Währung']"
    refuse(text, "syntax", f"unexpected character {character!r}" + (f"; {hint}" if hint else ""), at, at + 1)


@lru_cache(maxsize=16_384)
def parse(text: str) -> t.ExprNode:
    """Return the tree of one expression. Raises ExpressionError with the position of the first error.

    Cached: a tree never changes, and a formula is checked and compiled more than once.
    """
    parser = _Parser(text, tokenize(text))
    tree = parser.expression()
    last = parser.token
    if last.kind != "end":
        parser.fail(f"expected the end of the expression, found {last.text!r}")
    _check_height(text, tree)
    return tree


def _check_height(text: str, tree: t.ExprNode) -> None:
    stack = [(tree, 1)]
    while stack:
        node, height = stack.pop()
        if height > MAX_TREE_DEPTH:
            message = f"this chain of operators is more than {MAX_TREE_DEPTH} deep; use sum([...]) or join()"
            refuse(text, "limit", message, node.end, node.end + 1)
        stack.extend((child, height + 1) for child in t.children(node))


class _Parser:
    """Parser over the tokens in one pass. Recursion happens per bracket only, and brackets are counted."""

    def __init__(self, text: str, tokens: list[Lexeme]) -> None:
        self.text = text
        self.tokens = tokens
        self.at = 0
        self.token = tokens[0]
        self.nesting = 0
        self.terms = 0

    def fail(self, message: str, token: Lexeme | None = None, rule: str = "syntax") -> NoReturn:
        token = token or self.token
        refuse(self.text, rule, message, token.start, token.end)

    def advance(self) -> Lexeme:
        token = self.token
        self.at += 1
        self.token = self.tokens[min(self.at, len(self.tokens) - 1)]
        return token

    def is_op(self, op: str) -> bool:
        return self.token.kind == "op" and self.token.text == op

    def accept(self, op: str) -> bool:
        if self.is_op(op):
            self.advance()
            return True
        return False

    def expect(self, op: str) -> Lexeme:
        if not self.is_op(op):
            actual = "the end of the expression" if self.token.kind == "end" else repr(self.token.text)
            self.fail(f"expected {op!r}, found {actual}")
        return self.advance()

    def count(self, token: Lexeme) -> None:
        self.terms += 1
        if self.terms > MAX_TERMS:
            self.fail(f"an expression is limited to {MAX_TERMS:,} terms", token, "limit")

    def expression(self) -> t.ExprNode:
        self.nesting += 1
        if self.nesting > MAX_NESTING_DEPTH:
            message = f"brackets and conditions are nested more than {MAX_NESTING_DEPTH} deep"
            self.fail(message, rule="limit")
        node = self.chain()
        if self.accept("?"):
            yes = self.expression()
            self.expect(":")
            no = self.expression()
            node = t.TernaryNode(node.start, no.end, node, yes, no)
        self.nesting -= 1
        return node

    def chain(self) -> t.ExprNode:
        """Parse operands joined by binary operators, by precedence, with two stacks instead of recursion."""
        operands = [self.operand()]
        operators: list[Lexeme] = []
        while True:
            binding = _BINDING.get(self.token.text, 0) if self.token.kind in ("op", "name") else 0
            while operators and _BINDING[operators[-1].text] >= binding:
                right, left = operands.pop(), operands.pop()
                operands.append(_join(operators.pop().text, left, right))
            if not binding:
                return operands[0]
            self.count(self.token)
            operators.append(self.advance())
            operands.append(self.operand())

    def operand(self) -> t.ExprNode:
        """Parse unary operators, a primary, and the selections on it."""
        signs: list[Lexeme] = []
        while self.is_op("!") or self.is_op("-"):
            self.count(self.token)
            signs.append(self.advance())
        literal = self.negative_literal(signs)
        node = self.postfix(literal or self.primary())
        for sign in reversed(signs):
            node = t.UnaryNode(sign.start, node.end, sign.text, node)
        return node

    def negative_literal(self, signs: list[Lexeme]) -> t.ExprNode | None:
        """Parse `-9223372036854775808` as a literal: its positive part alone would not fit."""
        if not (signs and signs[-1].text == "-" and self.token.kind in ("int", "decimal", "hex")):
            return None
        sign = signs.pop()
        token = self.advance()
        return t.LiteralNode(sign.start, token.end, self.number(token, negative=True))

    def postfix(self, node: t.ExprNode) -> t.ExprNode:
        while True:
            if self.accept("."):
                name = self.advance()
                if name.kind != "name":
                    self.fail("expected a field name after '.'", name)
                self.count(name)
                if self.is_op("("):
                    args, end = self.arguments()
                    node = self.method(node, name, args, end)
                else:
                    node = t.SelectNode(node.start, name.end, node, name.text)
            elif self.is_op("["):
                self.count(self.advance())
                key = self.expression()
                node = t.IndexNode(node.start, self.expect("]").end, node, key)
            elif self.is_op("{") and isinstance(node, t.NameNode | t.SelectNode):
                self.fail("typed messages are not supported; write a map: {'key': value}")
            else:
                return node

    def method(self, target: t.ExprNode, name: Lexeme, args: list[t.ExprNode], end: int) -> t.ExprNode:
        arities = _MACROS.get(name.text)
        if arities is None:
            return t.CallNode(target.start, end, name.text, (target, *args), True)
        if len(args) not in arities:
            counts = " or ".join(map(str, arities))
            self.fail(f"{name.text} takes {counts} arguments: a variable and an expression", name)
        variable = args[0]
        if not isinstance(variable, t.NameNode):
            self.fail(f"the first argument of {name.text} must be a plain variable name", name)
        test = args[1] if len(args) == 3 else None
        return t.MacroNode(target.start, end, name.text, target, variable.name, args[-1], test)

    def arguments(self) -> tuple[list[t.ExprNode], int]:
        self.expect("(")
        args: list[t.ExprNode] = []
        if not self.is_op(")"):
            args.append(self.expression())
            while self.accept(","):
                args.append(self.expression())
        return args, self.expect(")").end

    def primary(self) -> t.ExprNode:
        token = self.advance()
        self.count(token)
        if token.kind == "name":
            return self.name(token)
        if token.kind in ("int", "decimal", "hex"):
            return t.LiteralNode(token.start, token.end, self.number(token, negative=False))
        if token.kind == "string":
            return t.LiteralNode(token.start, token.end, self.string(token))
        if token.kind == "op" and token.text == "(":
            node = self.expression()
            return msgspec.structs.replace(node, start=token.start, end=self.expect(")").end)
        if token.kind == "op" and token.text == "[":
            return self.list_of(token)
        if token.kind == "op" and token.text == "{":
            return self.map_of(token)
        if token.kind == "end":
            return self.fail("expected a value, found the end of the expression", token)
        return self.fail(f"expected a value, found {token.text!r}", token)

    def name(self, token: Lexeme) -> t.ExprNode:
        if token.text in _CONSTANTS:
            return t.LiteralNode(token.start, token.end, _CONSTANTS[token.text])
        if token.text in _RESERVED or token.text == "in":
            self.fail(f"{token.text!r} is a reserved word", token)
        if not self.is_op("("):
            return t.NameNode(token.start, token.end, token.text)
        args, end = self.arguments()
        if token.text != "has":
            return t.CallNode(token.start, end, token.text, tuple(args), False)
        if len(args) != 1 or not isinstance(args[0], t.SelectNode):
            self.fail("has() takes one field selection, such as has(a.b)", token)
        return t.HasNode(token.start, end, args[0].operand, args[0].field)

    def list_of(self, token: Lexeme) -> t.ExprNode:
        items: list[t.ExprNode] = []
        while not self.is_op("]"):
            items.append(self.expression())
            if not self.accept(","):
                break
        return t.ListNode(token.start, self.expect("]").end, tuple(items))

    def map_of(self, token: Lexeme) -> t.ExprNode:
        keys: list[t.ExprNode] = []
        values: list[t.ExprNode] = []
        while not self.is_op("}"):
            keys.append(self.expression())
            self.expect(":")
            values.append(self.expression())
            if not self.accept(","):
                break
        return t.MapNode(token.start, self.expect("}").end, tuple(keys), tuple(values))

    def number(self, token: Lexeme, negative: bool) -> object:
        text = token.text.rstrip("uU") if token.kind != "decimal" else token.text
        if token.kind == "decimal":
            try:
                value = Decimal(text if len(text) <= 2 * MAX_DIGITS else "NaN")
            except InvalidOperation:  # an exponent beyond all limits
                value = Decimal("NaN")
            digits = value.as_tuple().digits
            if value.is_nan() or len(digits) > MAX_DIGITS or abs(value.adjusted()) > MAX_DIGITS:
                self.fail(f"a number is limited to {MAX_DIGITS} digits", token, "limit")
            return value.copy_negate() if negative and value else value
        number = int(text, 16 if token.kind == "hex" else 10) if len(text) <= 20 else None
        if number is None or number > INT64_MAX + negative:
            self.fail("this integer does not fit 64 bits", token, "limit")
        return -number if negative else number

    def string(self, token: Lexeme) -> str | bytes:
        prefix = re.match(r"[rRbB]*", token.text)
        letters = prefix.group().lower() if prefix else ""
        quoted = token.text[len(letters) :]
        width = 3 if quoted[:3] in ('"""', "'''") and len(quoted) >= 6 else 1
        body = quoted[width:-width]
        if "b" not in letters:
            return body if "r" in letters else _ESCAPE.sub(lambda m: self.escape(m, token), body)
        if "r" in letters:
            return body.encode()
        out = bytearray()
        last = 0
        for match in _ESCAPE.finditer(body):
            out += body[last : match.start()].encode()
            character = self.escape(match, token)
            code = match.group(2) or match.group(5)
            if match.group(3) or match.group(4):
                self.fail("bytes take \\x and octal escapes, not \\u", token)
            out += bytes([ord(character)]) if code else character.encode()
            last = match.end()
        return bytes(out + body[last:].encode())

    def escape(self, match: re.Match[str], token: Lexeme) -> str:
        simple, byte, short, long, octal, _ = match.groups()
        if simple:
            return _SIMPLE_ESCAPES.get(simple, simple)
        code = int(octal, 8) if octal else int(byte or short or long or "-1", 16)
        if code < 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            self.fail(f"{match.group()!r} is not a valid escape", token)
        return chr(code)


def _join(op: str, left: t.ExprNode, right: t.ExprNode) -> t.ExprNode:
    if op == "&&":
        return t.AndNode(left.start, right.end, (*_terms(left, t.AndNode), *_terms(right, t.AndNode)))
    if op == "||":
        return t.OrNode(left.start, right.end, (*_terms(left, t.OrNode), *_terms(right, t.OrNode)))
    return t.BinaryNode(left.start, right.end, op, left, right)


def _terms(node: t.ExprNode, kind: type[t.AndNode] | type[t.OrNode]) -> tuple[t.ExprNode, ...]:
    return node.terms if isinstance(node, kind) else (node,)
