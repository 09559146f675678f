# English: a diffusion model of 4,096 word pieces, trained on English classics (out/README.md), in 64 forwards.
#   demask configs/english.py --start_text="It was a cold night, and"

checkpoint_name = 'english.pt'
strategy = 'best'
forwards = 64
sequence_length = 128
num_samples = 2
