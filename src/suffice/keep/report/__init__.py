"""A profile -> what a person looks at: `text` on a terminal, `page` in a browser, `live` while the job runs."""
