# English: the model of word pieces in out/english.pt, trained on English classics (out/README.md).
#   demask configs/english.py --start_text="It was a cold night, and"

checkpoint_name = 'english.pt'
strategy = 'ancestral'
diffusion_iterations = 64
temperature = 0.8
top_p = 0.95
sequence_length = 100
num_samples = 2
