"""Between conversations and tokens: the chat template, what ends a turn, options, text."""

from collections.abc import Sequence
from typing import Any

from tsr.engines.base import EngineError, Message, ModelFiles, Request

Tokens = tuple[int, ...]
# Stands for an answer when the template is asked what it puts behind one.
_ANSWER = "ANSWER"


class Chat:
    """A tokenizer with a chat template."""

    def __init__(self, model: ModelFiles) -> None:
        from transformers import AutoTokenizer

        folder = model.tokenizer or model.base
        self.tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=model.trust_remote_code, local_files_only=True
        )
        if self.tokenizer.chat_template is None:
            raise EngineError(
                f"{folder} has no chat template: set model.template to llama3, chatml, mistral or "
                "a Jinja file"
            )
        self._options: dict[tuple[str, tuple[str, ...]], Tokens] = {}

    def prompts(self, requests: Sequence[Request]) -> list[Tokens]:
        """The tokens that each answer is a continuation of."""
        return self._tokens([self._text(request) for request in requests])

    def conversations(self, requests: Sequence[Request]) -> list[Tokens]:
        """The tokens of each whole conversation: no turn is open at its end."""
        return self._tokens([self._text(request, open_turn=False) for request in requests])

    def options(self, request: Request) -> Tokens:
        """The token of each option, in the place where the request puts it."""
        # That place is the open turn and the opening, the same whatever was said before.
        place = (request.opening, request.options)
        if place not in self._options:
            self._options[place] = self._single_tokens(request)
        return self._options[place]

    def _single_tokens(self, request: Request) -> Tokens:
        text = self._text(request)
        before, *tried = self._tokens([text, *(text + option for option in request.options)])
        pairs = zip(request.options, tried, strict=True)
        wrong = [repr(option) for option, tokens in pairs if tokens[:-1] != before]
        if wrong:
            raise EngineError(
                f"request {request.id}: {', '.join(wrong)} cannot be asked for as an option, being "
                f"not one token after {text[-20:]!r}: change `options` or `opening`"
            )
        return tuple(tokens[-1] for tokens in tried)

    def stops(self, generation_config: Any) -> Tokens:
        """All that ends a turn: the model's and the tokenizer's end, and the template's own."""
        configured = generation_config.eos_token_id
        known = configured if isinstance(configured, list) else [configured]
        found = {*known, self.tokenizer.eos_token_id, self._turn_end()} - {None}
        if not found:
            raise EngineError("nothing ends a turn: set model.turn_end to the token that does")
        return tuple(sorted(found))

    def text(self, tokens: Sequence[int]) -> str:
        """What was said, without special tokens and otherwise as it was made."""
        decoded: str = self.tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded

    def _turn_end(self) -> int | None:
        """The special token that the template puts behind an answer, if it does."""
        turns = [Message(role="user", content="?"), Message(role="assistant", content=_ANSWER)]
        rest = self._render(turns, open_turn=False).rpartition(_ANSWER)[2]
        first = self._tokens([rest])[0][:1] if rest else []
        added = self.tokenizer.added_tokens_decoder
        return first[0] if first and first[0] in added and added[first[0]].special else None

    def _text(self, request: Request, open_turn: bool = True) -> str:
        from jinja2 import TemplateError

        try:
            return self._render(request.messages, open_turn) + request.opening
        except TemplateError as error:
            raise EngineError(
                f"request {request.id}: the chat template refuses the conversation ({error}): "
                "change the messages or model.template"
            ) from error

    def _render(self, messages: Sequence[Message], open_turn: bool) -> str:
        rendered: str = self.tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=open_turn
        )
        return rendered

    def _tokens(self, texts: Sequence[str]) -> list[Tokens]:
        # The template writes all special tokens itself; `verbose` would warn of long prompts, and
        # those are answered with `too_long`.
        if not texts:  # the tokenizer takes no empty list
            return []
        encoded = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)
        return [tuple(ids) for ids in encoded["input_ids"]]
