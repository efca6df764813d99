"""A small BERT classifies texts of many lengths, with the Trainer of transformers: python transformer_finetune.py --data DIR.

The network begins with random weights, for none can be had without a network. Some 30 s on two cores at the default
length.
"""

import argparse
import csv
import os

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)


class TextDataset(torch.utils.data.Dataset):
    def __init__(self, encodings, labels):
        self.encodings = encodings
        self.labels = labels

    def __getitem__(self, idx):
        item = {key: torch.tensor(val[idx]) for key, val in self.encodings.items()}
        item["labels"] = torch.tensor(self.labels[idx])
        return item

    def __len__(self):
        return len(self.labels)


def read_csv(path):
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))
    return [row["text"] for row in rows], [int(row["label"]) for row in rows]


def compute_metrics(eval_pred):
    logits, labels = eval_pred
    return {"accuracy": float((np.argmax(logits, axis=-1) == labels).mean())}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--learning_rate", type=float, default=5e-4)
    parser.add_argument("--max_length", type=int, default=128)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output_dir", default="out")
    parser.add_argument("--by-hand", choices=["compile", "bf16", "workers"])
    args = parser.parse_args()
    set_seed(args.seed)

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=os.path.join(args.data, "tokenizer.json"),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=args.max_length,
    )
    train_texts, train_labels = read_csv(os.path.join(args.data, "train.csv"))
    test_texts, test_labels = read_csv(os.path.join(args.data, "test.csv"))
    train_dataset = TextDataset(tokenizer(train_texts, truncation=True), train_labels)
    test_dataset = TextDataset(tokenizer(test_texts, truncation=True), test_labels)

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        max_position_embeddings=args.max_length,
        num_labels=len(set(train_labels)),
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertForSequenceClassification(config)
    training_args = TrainingArguments(
        output_dir=args.output_dir,
        num_train_epochs=args.epochs,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=64,
        learning_rate=args.learning_rate,
        weight_decay=0.01,
        logging_steps=50,
        eval_strategy="epoch",
        report_to="none",
        use_cpu=True,
        seed=args.seed,
        bf16=args.by_hand == "bf16",
        torch_compile=args.by_hand == "compile",
        dataloader_num_workers=os.cpu_count() if args.by_hand == "workers" else 0,
        dataloader_persistent_workers=args.by_hand == "workers",
    )
    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset,
        eval_dataset=test_dataset,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=compute_metrics,
    )
    trainer.train()
    metrics = trainer.evaluate()
    print(f"eval_loss {metrics['eval_loss']:.4f} eval_accuracy {metrics['eval_accuracy']:.4f}")


if __name__ == "__main__":
    main()
