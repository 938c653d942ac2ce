"""A conversation that is longer than the context."""

from preceptor.data.records import Prompt
from preceptor.tokenizer.chat import encode_prompt, fitting
from preceptor.tokenizer.train import train_bpe


def test_whole_exchanges_are_left_out_and_what_stands_in_front_stays() -> None:
    tokenizer = train_bpe(["ado emi iru ona bado kemi"] * 20, 300, 10_000)
    exchange = [{"role": "user", "content": "ado emi"}, {"role": "assistant", "content": "ado"}]
    for head in ([], [{"role": "system", "content": "ona"}]):
        whole = [*head, *exchange, *exchange, exchange[0]]
        for kept in ([*head, exchange[0]], [*head, *exchange, exchange[0]], whole):
            room = len(encode_prompt(tokenizer, Prompt("p", kept)))
            assert fitting(whole, tokenizer, room) == (kept, True)
        assert fitting(whole, tokenizer, 2) == ([*head, exchange[0]], False)
