"""A recurrent network over characters, one at a time, in the manner of char-rnn.pytorch: python char_rnn.py --data DIR.

Some 30 s on two cores at the default length.
"""

import argparse
import os
import random
import string
import time
from contextlib import nullcontext

import torch
from torch import nn

all_characters = string.printable
n_characters = len(all_characters)


class CharRNN(nn.Module):
    def __init__(self, input_size, hidden_size, output_size, n_layers=2):
        super().__init__()
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.encoder = nn.Embedding(input_size, hidden_size)
        self.rnn = nn.GRU(hidden_size, hidden_size, n_layers)
        self.decoder = nn.Linear(hidden_size, output_size)

    def forward(self, input, hidden):
        batch_size = input.size(0)
        encoded = self.encoder(input)
        output, hidden = self.rnn(encoded.view(1, batch_size, -1), hidden)
        output = self.decoder(output.view(batch_size, -1))
        return output, hidden

    def init_hidden(self, batch_size):
        return torch.zeros(self.n_layers, batch_size, self.hidden_size)


def char_tensor(string):
    tensor = torch.zeros(len(string)).long()
    for c in range(len(string)):
        try:
            tensor[c] = all_characters.index(string[c])
        except ValueError:
            continue
    return tensor


def random_training_set(chunk_len, batch_size):
    inp = torch.LongTensor(batch_size, chunk_len)
    target = torch.LongTensor(batch_size, chunk_len)
    for bi in range(batch_size):
        start_index = random.randint(0, len(file) - chunk_len - 1)
        chunk = file[start_index : start_index + chunk_len + 1]
        inp[bi] = char_tensor(chunk[:-1])
        target[bi] = char_tensor(chunk[1:])
    return inp, target


def train(inp, target):
    hidden = decoder.init_hidden(args.batch_size)
    decoder.zero_grad()
    loss = 0
    with autocast():
        for c in range(args.chunk_len):
            output, hidden = decoder(inp[:, c], hidden)
            loss += criterion(output.view(args.batch_size, -1), target[:, c])
    loss.backward()
    decoder_optimizer.step()
    return loss.item() / args.chunk_len


def generate(decoder, prime_str="import", predict_len=100, temperature=0.8):
    hidden = decoder.init_hidden(1)
    prime_input = char_tensor(prime_str).unsqueeze(0)
    predicted = prime_str
    with torch.no_grad():
        for p in range(len(prime_str) - 1):
            _, hidden = decoder(prime_input[:, p], hidden)
        inp = prime_input[:, -1]
        for _ in range(predict_len):
            output, hidden = decoder(inp, hidden)
            output_dist = output.data.view(-1).div(temperature).exp()
            top_i = torch.multinomial(output_dist, 1)[0]
            predicted_char = all_characters[top_i]
            predicted += predicted_char
            inp = char_tensor(predicted_char)
    return predicted


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--print_every", type=int, default=50)
    parser.add_argument("--hidden_size", type=int, default=128)
    parser.add_argument("--n_layers", type=int, default=2)
    parser.add_argument("--learning_rate", type=float, default=0.005)
    parser.add_argument("--chunk_len", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--by-hand", choices=["compile", "bf16"])
    args = parser.parse_args()
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    with open(os.path.join(args.data, "input.txt")) as f:
        file = f.read()

    def autocast():
        return torch.autocast("cpu", dtype=torch.bfloat16) if args.by_hand == "bf16" else nullcontext()

    decoder = CharRNN(n_characters, args.hidden_size, n_characters, n_layers=args.n_layers)
    decoder_optimizer = torch.optim.Adam(decoder.parameters(), lr=args.learning_rate)
    criterion = nn.CrossEntropyLoss()
    if args.by_hand == "compile":
        decoder = torch.compile(decoder)

    start, all_losses = time.time(), []
    for step in range(1, args.steps + 1):
        all_losses.append(train(*random_training_set(args.chunk_len, args.batch_size)))
        if step % args.print_every == 0:
            print(
                f"step {step} ({100 * step / args.steps:.0f}%) loss {all_losses[-1]:.4f} [{time.time() - start:.0f}s]"
            )
            print(generate(decoder), "\n")
    torch.save(decoder.state_dict(), "char_rnn.pt")
    last = all_losses[-args.print_every :]
    print(f"mean loss of the last {len(last)} steps: {sum(last) / len(last):.4f}")
